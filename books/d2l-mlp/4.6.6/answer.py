"""4.6.6 What happens when single weights are dropped instead of activations (DropConnect)?

Its moments are computed over all masks; its masks are compared with dropout's; three arms are trained where there is
something to regularise, on few images, at strengths that validation images chose. The notes read the question as one
about the place of dropout: that is answered too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import Tensor

from mlplab.answers import (
    Answer,
    Circulated,
    Claim,
    Finding,
    Lab,
    Observations,
    Table,
    Verdict,
    WordList,
    recentred,
)
from mlplab.answers.checks import greater
from mlplab.charts import plots, show
from mlplab.engine import draws
from mlplab.engine.noises import noise_of
from mlplab.knobs import turn, value_of
from mlplab.spec import Noise, Setting
from mlplab.stats import mean_interval, paired, prediction_interval, proportion_interval
from mlplab.study import Arm, Study

from .. import chapter, choice

if TYPE_CHECKING:
    import altair

# Of the test loss, as in 4.6.5: a seventh of what the better remedy there gains. Less does not matter here.
MARGIN = 0.03
METRIC = "test_loss"
# Of accuracy: the draw of the images moves it by half a point. Less than a point does not matter here.
ACCURACY_MARGIN = 0.01
# Rates that can be tried: the search goes on until its best has worse ones on both sides.
RATES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9)
KINDS = ("dropout", "dropconnect")


def observe(lab: Lab) -> Observations:
    """Choose the rate of dropout and of DropConnect on validation images; train three arms on fresh seeds."""
    dataset = lab.dataset("fashion-mnist", embedded="mnist-5k")
    base = lab.setting(chapter.few_images_setting(dataset, epochs=lab.choose(quick=30, full=80)))
    problem = chapter.few_images(dataset)
    first = chapter.FIRST_TUNING_SEED
    tuning = range(first, first + lab.choose(quick=1, full=3))
    rates = RATES[lab.choose(quick=slice(1, None, 2), full=slice(None))]
    tried, arms = [], [Arm("none", base)]
    for kind in KINDS:

        def losses(strengths: Sequence[tuple[float, ...]], kind: str = kind) -> list[float]:
            grid = [Arm(f"{rate:g}", noisy(base, kind, rate)) for (rate,) in strengths]
            tuned = lab.run(Study(grid, tuning, problem)).frame
            by_arm = tuned.groupby("arm")["validation_loss"].agg(lambda column: column.to_numpy().mean())
            return [float(by_arm[arm.name]) for arm in grid]

        (rate,), searched = choice.settled([rates], (len(rates) // 2,), losses)
        tried += [
            {"kind": kind, "rate": one, "validation_loss": loss, "is_chosen": one == rate}
            for (one,), loss in sorted(searched.items())
        ]
        arms.append(Arm(kind, noisy(base, kind, rate)))
    runs = lab.run(Study(arms, lab.seeds(quick=4, full=40), problem))
    sizes = pd.DataFrame(
        [
            {part: held.num_examples for part, held in problem(0).parts.items()}
            | {"in_features": dataset.in_features, "num_tuning": len(tuning)}
        ]
    )
    columns = ["arm", "seed", "digest", "status", "train_loss", METRIC, "test_accuracy", "seconds"]
    return lab.observations(runs=runs.frame[columns], selection=pd.DataFrame(tried), sizes=sizes)


def noisy(base: Setting, kind: str, rate: float) -> Setting:
    """The network with one kind of noise at one rate in every hidden layer."""
    return turn(base, noise=(Noise(kind, rate=rate),))


def values(observations: Observations, arm: str, metric: str = METRIC) -> np.ndarray:
    """Test loss, or another metric, of an arm, by seed."""
    return choice.values(observations, arm, metric)


def losses_without(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Without noise: loss on new images, and that on the training images, by seed."""
    return values(observations, "none"), values(observations, "none", "train_loss")


def is_lost(observations: Observations, arm: str) -> np.ndarray:
    """Of each run of an arm: whether it diverged, or guesses in the end, by seed."""
    return values(observations, arm, "test_accuracy") < choice.LOST


def gain(observations: Observations, arm: str, baseline: str = "none", metric: str = METRIC) -> np.ndarray:
    """Of the seeds on which neither arm is lost: by how much the test loss of one is lower, or its accuracy higher."""
    lives = ~(is_lost(observations, arm) | is_lost(observations, baseline))
    sign = -1 if metric.endswith("loss") else 1
    return sign * (values(observations, arm, metric) - values(observations, baseline, metric))[lives]


def is_better(observations: Observations, arm: str, baseline: str) -> np.ndarray:
    """On which seeds an arm ends with a lower test loss than another; a run that is lost counts as one that guesses."""
    return values(observations, arm) < values(observations, baseline)


def mostly(is_so: np.ndarray) -> Finding:
    """Is it so on more than half of the seeds? By the exact interval of the share."""
    share = proportion_interval(int(is_so.sum()), len(is_so))
    low, high = share.ci_low or 0.0, 1.0 if share.ci_high is None else share.ci_high
    verdict: Verdict = "holds" if low > 0.5 else "fails" if high < 0.5 else "undecided"
    return Finding(verdict, None, {"num_so": float(is_so.sum()), "share_low": low, "share_high": high})


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


def of_normals(p: float) -> float:
    """The share that is dropped where normal numbers are compared with p: Φ(p)."""
    return (1 + math.erf(p / math.sqrt(2))) / 2


def of_uniforms(p: float) -> float:
    """The same of uniform numbers."""
    return p


def drops_more(share: Callable[[float], float]) -> Finding:
    """At both of the section's rates: is more than a tenth too much dropped?"""
    low, high = value_of(chapter.DROPOUT_SETTING, "dropout")
    dropped_low, dropped_high = share(low), share(high)
    return Finding.true_if(
        min(dropped_low - low, dropped_high - high) > 0.1,
        rate_low=low,
        rate_high=high,
        dropped_low=dropped_low,
        dropped_high=dropped_high,
    )


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The arms, and how their rates were chosen."""
    rows = []
    for arm, label in words.group("arms").items():
        lives = ~is_lost(observations, arm)
        loss = show.number_interval(mean_interval(values(observations, arm)[lives]))
        lower = "" if arm == "none" else show.number_interval(paired(gain(observations, arm)))
        accuracy = show.percent_interval(mean_interval(values(observations, arm, "test_accuracy")[lives]))
        rate = "" if arm == "none" else f"{chosen_rate(observations, arm):g}"
        train = show.number(float(values(observations, arm, "train_loss")[lives].mean()))
        lost = f"{(~lives).sum()} / {len(lives)}"
        rows.append([label, rate, lost, train, *map(show.stacked, (loss, lower, accuracy))])
    heads = tuple(
        words[f"heads.{head}"] for head in ("rate", "lost", "training-loss", "test-loss", "gain", "accuracy")
    )
    tried = [
        [
            words.group("arms")[row["kind"]],
            f"{row['rate']:g}",
            show.number(row["validation_loss"])
            if np.isfinite(row["validation_loss"])
            else words["labels.diverged"],
            "✓" if row["is_chosen"] else "",
        ]
        for row in observations.rows("selection")
    ]
    searched = words("titles.search", num=int(observations["sizes"]["num_tuning"].iloc[0]))
    return [
        Table(words["titles.losses"], ("", *heads), rows),
        Table(
            searched, ("", words["heads.rate"], words["heads.validation-loss"], words["heads.chosen"]), tried
        ),
    ]


def chosen_rate(observations: Observations, kind: str) -> float:
    """The rate that validation images prefer."""
    selection = observations["selection"]
    return float(selection[(selection["kind"] == kind) & selection["is_chosen"]]["rate"].iloc[0])


def facts(observations: Observations) -> dict[str, Any]:
    """Random bits an update, the rates that were chosen, and what was gained."""
    setting, sizes = observations.settings[-1], observations.rows("sizes")[0]
    hidden = [int(size) for size in setting["hidden_sizes"].split(",")]
    batch = int(setting["batch_size"])
    weights = sum(a * b for a, b in itertools.pairwise([sizes["in_features"], *hidden]))
    tried = observations["selection"].groupby("kind")["rate"]
    rates = {kind: chosen_rate(observations, kind) for kind in KINDS}
    return {
        "bits": {"dropout": batch * sum(hidden), "shared": weights, "own": batch * weights},
        "batch": batch,
        "sizes": "-".join(map(str, hidden)),
        "rate": rates,
        "num_at_edge": sum(choice.is_at_edge(rate, tried.get_group(kind)) for kind, rate in rates.items()),
        "epochs": setting["epochs"],
        "num_images": sizes["train"],
        "num_test": sizes["test"],
        "num_tuning": sizes["num_tuning"],
        "gain": {kind: paired(gain(observations, kind)) for kind in KINDS},
        "accuracy": {kind: paired(gain(observations, kind, metric="test_accuracy")) for kind in KINDS},
        "num_lost": {arm: int(is_lost(observations, arm).sum()) for arm in ("none", *KINDS)},
        "learning_rate": setting["learning_rate"],
        "margin": MARGIN,
    }


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The test losses of the three arms after one run that does not collapse."""
    return {
        name: prediction_interval(values(observations, arm)[~is_lost(observations, arm)])
        for name, arm in (("neither", "none"), ("dropout", "dropout"), ("dropconnect", "dropconnect"))
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """Test loss of the three arms, beside the differences that the verdicts rest on."""
    labels = dict(words.group("arms").items())
    rows = [
        {"arm": arm, "num_diverged": 0}
        | mean_interval(values(observations, arm)[~is_lost(observations, arm)]).to_dict()
        for arm in labels
    ]
    left = plots.interval_plot(
        pd.DataFrame(rows),
        value_title=words["titles.test-loss"],
        title=words["titles.each-at-its-chosen-rate"],
        labels=labels,
        value_format=".2f",
        notes=words.notes,
        width=240,
    )
    pairs = (("dropout", "none"), ("dropconnect", "none"), ("dropconnect", "dropout"))
    right = plots.difference_plot(
        {f"{labels[a]} − {labels[b]}": paired(-gain(observations, a, b), margin=MARGIN) for a, b in pairs},
        value_title=words["titles.difference-in-test-loss"],
        title=words["titles.per-seed-differences"],
        value_format=".2f",
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
            name="mask-by-normals-drops-more",
            kind="calculation",
            check=drops_more,
            subject=lambda o: of_normals,
            falsehood=lambda o: of_uniforms,
        ),
        choice.overfitting("overfits-with-neither", losses_without),
        Claim(
            name="dropconnect-helps-on-most-seeds",
            kind="experiment",
            check=mostly,
            subject=lambda o: is_better(o, "dropconnect", "none"),
            # As if the two arms had been exchanged.
            falsehood=lambda o: is_better(o, "none", "dropconnect"),
            requires=("overfits-with-neither",),
            post_hoc=True,
        ),
        Claim(
            name="where-it-lives-it-beats-dropout",
            kind="experiment",
            check=greater(margin=MARGIN),
            subject=lambda o: gain(o, "dropconnect", "dropout"),
            falsehood=lambda o: recentred(gain(o, "dropconnect", "dropout"), 0.0),
            requires=("overfits-with-neither",),
            post_hoc=True,
        ),
        Claim(
            name="it-is-right-less-often",
            kind="experiment",
            check=greater(margin=ACCURACY_MARGIN),
            subject=lambda o: -gain(o, "dropconnect", metric="test_accuracy"),
            falsehood=lambda o: recentred(-gain(o, "dropconnect", metric="test_accuracy"), 0.0),
            unit="points",
            requires=("overfits-with-neither",),
            post_hoc=True,
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
        Circulated("where-to-put-dropout", "misread", source="datawhale"),
        Circulated(
            "before-the-activation-a-dropped-unit-gets-no-gradient",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="no-gradient-behind-a-mask-of-0",
            source="datawhale",
        ),
        Circulated("weights-dropped-are-dropconnect", "right", source="pandalabme"),
        Circulated(
            "normals-make-the-mask",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="mask-by-normals-drops-more",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set hidden_sizes=128,128",
)
