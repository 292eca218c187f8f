"""4.6.6 What happens when single weights are dropped instead of activations (DropConnect)?

Its moments are computed over all masks; its masks are compared with dropout's; three arms are trained at strengths that
validation images chose. The notes read the question as one about the place of dropout: that is answered too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import Tensor

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.engine import draws
from mlplab.engine.noises import noise_of
from mlplab.knobs import turn
from mlplab.spec import Noise
from mlplab.stats import mean_interval, paired
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

# Differences in accuracy of less than 0.3 points do not matter here: another seed moves it by more.
MARGIN = 0.003
METRIC = "test_accuracy"
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)


def observe(lab: Lab) -> Observations:
    """Choose the rate of dropout and of DropConnect on validation images; train three arms on fresh seeds."""
    dataset = lab.dataset("fashion-mnist", embedded="digits")
    base = lab.setting(chapter.dropout_comparison(dataset.name))
    grid = [
        Arm(f"{kind} {rate:g}", turn(base, noise=(Noise(kind, rate=rate),)), {"kind": kind, "rate": rate})
        for kind in ("dropout", "dropconnect")
        for rate in lab.choose(quick=RATES[::2], full=RATES)
    ]
    first = chapter.FIRST_TUNING_SEED
    tuned = lab.run(Study(grid, range(first, first + lab.choose(quick=2, full=3)), dataset))
    arms = [Arm("none", base)]
    for kind in ("dropout", "dropconnect"):
        names = [arm.name for arm in grid if arm.levels["kind"] == kind]
        best = next(arm for arm in grid if arm.name == tuned.best("validation_accuracy", arms=names))
        arms.append(Arm(kind, best.setting, best.levels))
    runs = lab.run(Study(arms, lab.seeds(quick=6, full=20), dataset))
    taken = {arm.setting for arm in arms}
    described = pd.DataFrame(
        [{"arm": arm.name, **arm.levels, "is_chosen": arm.setting in taken} for arm in grid]
    )
    # A run that diverged leaves its arm without a mean, and in the table.
    selection = tuned.summary("validation_accuracy").drop(columns=["kind", "rate"]).merge(described, on="arm")
    inputs = pd.DataFrame([{"in_features": dataset.in_features}])
    return lab.observations(runs=runs.frame, selection=selection, inputs=inputs)


def difference(observations: Observations, arm: str, baseline: str) -> np.ndarray:
    """Test accuracy of one arm minus another's, by seed."""
    return observations.runs.differences(METRIC, arm, baseline)


# Of SymPy's columns w and v (input, 1) and the probability to survive: mean and variance.
Moments = Callable[[Any, Any, Any], tuple[Any, Any]]


def unit_moments(w: Any, v: Any, q: Any) -> tuple[Any, Any]:
    """Mean q·wᵀv and variance q(1 - q)·(w∘w)ᵀ(v∘v) of a unit whose weights survive with probability q."""
    return q * w.dot(v), q * (1 - q) * sum(a**2 * b**2 for a, b in zip(w, v, strict=True))


def whole_unit_moments(w: Any, v: Any, q: Any) -> tuple[Any, Any]:
    """As if the whole unit were dropped: the same mean, and the variance q(1 - q)·(wᵀv)²."""
    return q * w.dot(v), q * (1 - q) * w.dot(v) ** 2


def are_the_moments(moments: Moments) -> Finding:
    """Sum over all masks of one unit with three inputs, in computer algebra."""
    q = sympy.Symbol("q")
    w: Any
    v: Any
    w, v = (sympy.Matrix(sympy.symbols(f"{name}:3")) for name in "wv")
    first = second = 0
    for mask in itertools.product((0, 1), repeat=3):
        share = sympy.prod([q if m else 1 - q for m in mask])
        u = sum(m * a * b for m, a, b in zip(mask, w, v, strict=True))
        first, second = first + share * u, second + share * u**2
    mean, variance = moments(w, v, q)
    rest = [sympy.simplify(first - mean), sympy.simplify(second - first**2 - variance)]
    return Finding.true_if(rest == [0, 0], detail=f"left over: {rest}")


Sharing = Callable[[Tensor, tuple[int, int]], Tensor]


def by_column(kept: Tensor, shape: tuple[int, int]) -> Tensor:
    """A mask (out, in) whose rows are all alike: one bit for each input."""
    return kept[: shape[1]].expand(shape)


def by_row(kept: Tensor, shape: tuple[int, int]) -> Tensor:
    """A mask (out, in) whose columns are all alike: one bit for each output."""
    return kept[: shape[0], None].expand(shape)


def is_dropout_of_inputs(share: Sharing) -> Finding:
    """With the mask of weights that `share` makes of bits: is W∘M times x what W makes of x with inputs dropped?"""
    worst = 0.0
    for seed in range(20):
        shape = (7, 7)
        weight, x = draws.noise_normals(seed, 0, 0, shape), draws.noise_normals(seed, 1, 0, (5, 7))
        kept = (draws.noise_bits(seed, 2, 0, (7,)) >= 0).double()
        mask = share(kept, shape)
        worst = max(worst, (x @ (weight * mask).T - (x * kept) @ weight.T).abs().max().item())
    # Sums of seven products of size 1, in float64.
    return Finding.true_if(worst < 1e-12, worst_error=worst)


def shared_covariance(w: Tensor, v: Tensor, other: Tensor, p: float) -> Tensor:
    """Of a unit's inputs from two examples under one mask: p/(1 - p)·(w∘w)ᵀ(v∘v')."""
    return p / (1 - p) * (w**2 * v * other).sum()


def no_covariance(w: Tensor, v: Tensor, other: Tensor, p: float) -> Tensor:
    """As if each example had a mask of its own."""
    return torch.zeros((), dtype=w.dtype)


def couples_examples(covariance: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> Finding:
    """Draw 20,000 masks of the engine: is that the covariance of what one unit gets from two examples of a batch?"""
    num, worst = 20_000, 0.0
    for seed, p in enumerate((0.2, 0.5, 0.7)):
        w = draws.noise_normals(seed, 0, 0, (6, 1))
        v = draws.noise_normals(seed, 1, 0, (2, 6)).abs()
        kind = noise_of([Noise("dropconnect", rate=p)], torch.float64)
        assert kind is not None
        noisy = kind(w.expand(num, 6, 1), draws.noise_bits(seed, 2, 0, (num, 6, 1)))
        u = (v @ noisy)[..., 0] - (v @ w)[:, 0]  # (mask, example), mean 0
        products = u[:, 0] * u[:, 1]
        off = (products.mean() - covariance(w[:, 0], v[0], v[1], p)) / (products.std() / math.sqrt(num))
        worst = max(worst, abs(off.item()))
    return Finding.true_if(worst < 4, worst_standard_errors=worst)


def place_makes_no_difference(activation: Callable[[Tensor], Tensor]) -> Finding:
    """Dropout before and after the activation, one mask: are outputs and gradients the same?"""
    worst = 0.0
    for seed in range(20):
        z = draws.noise_normals(seed, 0, 0, (8, 6)).requires_grad_()
        factor = 2.0 * (draws.noise_bits(seed, 1, 0, (8, 6)) >= 0)
        before, after = activation(z * factor), activation(z) * factor
        gradients = [torch.autograd.grad(y.square().sum(), z)[0] for y in (before, after)]
        worst = max(
            worst, (before - after).abs().max().item(), (gradients[0] - gradients[1]).abs().max().item()
        )
    return Finding.true_if(worst < 1e-12, worst_difference=worst)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
}


def multiplied(values: Tensor, mask: Tensor) -> Tensor:
    """Dropout as it is."""
    return values * mask


def passed_through(values: Tensor, mask: Tensor) -> Tensor:
    """The same values, but with the gradient of the unmasked ones: as if a dropped unit still learned."""
    return values + (values * mask - values).detach()


def gives_no_gradient(drop: Callable[[Tensor, Tensor], Tensor]) -> Finding:
    """Drop units before and after four activations: do the weights into them get a gradient of exactly 0?

    Each unit of the layer is dropped for the whole batch or kept, and those kept must get one.
    """
    num_cases, largest, is_kept_alive = 0, 0.0, True
    for seed, (activation, is_before) in enumerate(itertools.product(ACTIVATIONS.values(), (True, False))):
        weight = draws.noise_normals(seed, 0, 0, (6, 5)).requires_grad_()
        x, out = draws.noise_normals(seed, 1, 0, (8, 5)), draws.noise_normals(seed, 2, 0, (6, 3))
        mask = torch.tensor([1.0, 0, 1, 0, 0, 1], dtype=x.dtype)
        z = x @ weight.T
        h = activation(drop(z, mask)) if is_before else drop(activation(z), mask)
        (gradient,) = torch.autograd.grad((h @ out).square().sum(), weight)
        largest = max(largest, gradient[mask == 0].abs().max().item())
        is_kept_alive &= bool((gradient[mask == 1] != 0).any(1).all())
        num_cases += 1
    return Finding.true_if(
        largest == 0 and is_kept_alive, f"largest gradient {largest:.3g}", cases=num_cases, largest=largest
    )


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The arms, and how their rates were chosen."""
    rows = []
    for arm, label in words.group("arms").items():
        accuracy = show.percent_interval(mean_interval(observations.runs.values(METRIC, arm)))
        gain = "" if arm == "none" else show.points_interval(paired(difference(observations, arm, "none")))
        rate = "" if arm == "none" else f"{chosen_rate(observations, arm):g}"
        rows.append([label, rate, show.stacked(accuracy), show.stacked(gain)])
    title = words["titles.test-accuracy-mean-over-seeds"]
    heads = (
        "",
        words["heads.rate-chosen"],
        words["heads.accuracy"],
        words["heads.gain-points"],
    )
    selection = observations["selection"]
    tried = []
    for kind in ("dropout", "dropconnect"):
        of_kind = selection[selection["kind"] == kind].to_dict("records")
        diverged = words["labels.diverged"]
        means = [
            show.percent(row["estimate"]) if np.isfinite(row["estimate"]) else diverged for row in of_kind
        ]
        cells = [f"{row['rate']:g}: {mean}" for row, mean in zip(of_kind, means, strict=True)]
        tried.append([words.group("arms")[kind], *cells])
    num = selection["num_replicates"].iloc[0]
    choice = words("labels.how-rates-were-chosen-validation", num=num)
    return [Table(title, heads, rows), Table(choice, [""] * len(tried[0]), tried)]


def chosen_rate(observations: Observations, kind: str) -> float:
    """The rate that validation images prefer."""
    selection = observations["selection"]
    return float(selection[(selection["kind"] == kind) & selection["is_chosen"]]["rate"].iloc[0])


def facts(observations: Observations) -> dict[str, Any]:
    """Random bits an update, and the rates that were chosen."""
    setting = observations.settings[-1]
    sizes = [int(size) for size in setting["hidden_sizes"].split(",")]
    batch, inputs = int(setting["batch_size"]), int(observations["inputs"]["in_features"].item())
    pairs = list(itertools.pairwise([inputs, *sizes]))
    weights = sum(a * b for a, b in pairs)
    tried = observations["selection"].groupby("kind")["rate"]
    rates = {kind: chosen_rate(observations, kind) for kind in ("dropout", "dropconnect")}
    return {
        "bits": {
            "dropout": batch * sum(sizes),
            "shared": weights,
            "own": batch * weights,
        },
        "batch": batch,
        "inputs": inputs,
        "sizes": "-".join(map(str, sizes)),
        "rate": rates,
        "num_at_edge": sum(choice.is_at_edge(rate, tried.get_group(kind)) for kind, rate in rates.items()),
        "num_rates": int(observations["selection"]["kind"].value_counts().max()),
        "epochs": setting["epochs"],
        "gain": {kind: paired(difference(observations, kind, "none")) for kind in ("dropout", "dropconnect")},
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test accuracy of the three arms, beside the differences that the verdicts rest on."""
    labels = dict(words.group("arms").items())
    left = plots.interval_plot(
        observations.runs.summary(METRIC),
        value_title=words["titles.test-accuracy"],
        title=words["titles.each-at-its-chosen-rate"],
        labels=labels,
        value_format=".2%",
        notes=words.notes,
        width=240,
    )
    pairs = (("dropout", "none"), ("dropconnect", "none"), ("dropconnect", "dropout"))
    right = plots.difference_plot(
        {
            f"{labels[a]} − {labels[b]}": paired(difference(observations, a, b), margin=MARGIN)
            for a, b in pairs
        },
        value_title=words["titles.difference-in-test-accuracy"],
        title=words["titles.per-seed-differences"],
        value_format=".1%",
        notes=words.notes,
        width=240,
    )
    return left | right


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="moments",
            kind="proof",
            check=are_the_moments,
            subject=lambda o: unit_moments,
            falsehood=lambda o: whole_unit_moments,
        ),
        Claim(
            name="a-column-mask-is-dropout",
            kind="property",
            check=is_dropout_of_inputs,
            subject=lambda o: by_column,
            falsehood=lambda o: by_row,
        ),
        Claim(
            name="one-mask-couples-the-batch",
            kind="property",
            check=couples_examples,
            subject=lambda o: shared_covariance,
            falsehood=lambda o: no_covariance,
        ),
        Claim(
            name="place-is-the-same-for-relu",
            kind="property",
            check=place_makes_no_difference,
            subject=lambda o: torch.relu,
            falsehood=lambda o: torch.nn.functional.softplus,
        ),
        Claim(
            name="no-gradient-behind-a-mask-of-0",
            kind="property",
            check=gives_no_gradient,
            subject=lambda o: multiplied,
            falsehood=lambda o: passed_through,
        ),
        Claim(
            name="dropconnect-helps",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: difference(o, "dropconnect", "none"),
            falsehood=lambda o: recentred(difference(o, "dropconnect", "none"), -0.02),
            unit="points",
        ),
        Claim(
            name="dropconnect-equals-dropout",
            kind="experiment",
            check=equivalent(margin=MARGIN),
            subject=lambda o: difference(o, "dropconnect", "dropout"),
            falsehood=lambda o: recentred(difference(o, "dropconnect", "dropout"), -0.02),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "question-must-mean-whether-dropout",
            "misread",
        ),
        Circulated(
            "before-activation-dropout-loses-its",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="place-is-the-same-for-relu",
        ),
    ),
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=128,128",
)
