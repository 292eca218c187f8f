"""4.8.2 May all weights of linear or softmax regression start at the same value?

A shift of all softmax weights by c changes no output, so that training from c is training from 0, shifted. The same
start is the ruin of a network with a hidden layer, whose equal units stay equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import Tensor
from torch.nn import functional

from mlplab import data
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.answers.checks import equivalent, greater
from mlplab.charts import plots, show
from mlplab.data import Dataset
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval
from mlplab.study import Study, factorial

if TYPE_CHECKING:
    import altair

TRIES = 50
PATHS, PATH_STEPS = 10, 100
CONSTANTS = (0.0, 0.5, -3.0)
STEPS, EARLY = 1500, 100  # full-batch steps of the convex problem, and a moment when it is not yet solved
DECAY = 0.02  # makes the minimum of the softmax loss unique
MARGIN = 0.01  # of accuracy, within which starts count as equally good
RANDOM = "normal"
SOFTMAX, HIDDEN = (), (32,)


def observe(lab: Lab) -> Observations:
    """Softmax regression and a network with one hidden layer on digits, from equal and from random weights."""
    digits = data.load("digits")
    base = turn(Setting(), batch_size=32, epochs=50, evaluate_every=50)
    starts = [f"constant(value={c:g})" for c in CONSTANTS] + [RANDOM]
    arms = factorial(lab.setting(base), hidden_sizes=[SOFTMAX, HIDDEN], initialization=starts)
    runs = lab.run(Study(arms, lab.seeds(quick=6, full=20), digits))
    described = [
        {
            "arm": arm.name,
            "model": "softmax" if arm.setting.model.hidden_sizes == SOFTMAX else "hidden",
            "start": _label(starts[index % len(starts)]),
        }
        for index, arm in enumerate(arms)
    ]
    return lab.observations(
        runs=runs.frame, arms=pd.DataFrame(described), descent=pd.DataFrame(descents(digits))
    )


def _label(start: str) -> str:
    return "random" if start == RANDOM else f"{float(start.split('=')[1][:-1]):g}"


def descents(digits: Dataset) -> list[dict[str, Any]]:
    """Loss above its minimum along gradient descent with momentum, in float64, on all training digits at once."""
    x, y = torch.from_numpy(digits.train.features).double(), torch.from_numpy(digits.train.targets)
    shape = (10, digits.in_features)
    starts = {f"{c:g}": torch.full(shape, c, dtype=torch.float64) for c in CONSTANTS}
    starts["random"] = torch.from_numpy(Stream(0, "init").normal(shape))
    shown = {0, *np.geomspace(1, STEPS, 50).round().astype(int).tolist(), EARLY}
    losses = {name: _descend(x, y, w, sorted(shown)) for name, w in starts.items()}
    lowest = _minimum(x, y, shape)
    return [
        {"start": name, "step": step, "excess": float(f"{loss - lowest:.6g}")}
        for name, found in losses.items()
        for step, loss in found.items()
    ]


def _objective(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    return functional.cross_entropy(x @ w.T, y) + DECAY / 2 * (w**2).sum()


def _descend(x: Tensor, y: Tensor, start: Tensor, shown: list[int]) -> dict[int, float]:
    w = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    losses = {}
    for step in range(STEPS + 1):
        optimizer.zero_grad()
        loss = _objective(x, y, w)
        if step in shown:
            losses[step] = loss.item()
        loss.backward()
        optimizer.step()
    return losses


def _minimum(x: Tensor, y: Tensor, shape: tuple[int, int]) -> float:
    """By L-BFGS, another method than the one that is judged."""
    w = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w], max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = _objective(x, y, w)
        loss.backward()
        return loss

    solver.step(closure)  # pyright: ignore[reportArgumentType]
    return _objective(x, y, w).item()


# Checks


def leaves_softmax(rows: tuple[int, ...]) -> Finding:
    """Three classes, two features, all symbols: does c added to all weights of these classes leave the softmax?"""
    z, (c, x1, x2) = sympy.symbols("z:3", real=True), sympy.symbols("c x1 x2", real=True)
    moved = [z[k] + (c * (x1 + x2) if k in rows else 0) for k in range(3)]
    gaps = [
        sympy.expand(
            sympy.exp(moved[k]) * sum(map(sympy.exp, z)) - sympy.exp(z[k]) * sum(map(sympy.exp, moved))
        )
        for k in range(3)
    ]
    return Finding.true_if(all(gap == 0 for gap in gaps), f"classes {rows} of 3 moved")


def is_curvature(sign: int) -> Finding:
    """Is zᵀ(diag(p) - ppᵀ)z, the curvature of the loss along z, the sum of pᵢpⱼ(zᵢ ∓ zⱼ)² over pairs?"""
    a, b, *z = sympy.symbols("a b z:3", real=True)
    p = [a, b, 1 - a - b]
    form = (
        sum(q * v**2 for q, v in zip(p, z, strict=True)) - sum(q * v for q, v in zip(p, z, strict=True)) ** 2
    )
    pairs = sum(p[i] * p[j] * (z[i] - sign * z[j]) ** 2 for i in range(3) for j in range(i))
    gap = sympy.expand(form - pairs)
    return Finding.true_if(gap == 0, "no difference" if gap == 0 else "they differ")


def units_stay_equal(same_outgoing: bool) -> Finding:
    """Two units with equal incoming weights, symbols throughout: have these weights equal gradients?

    Arguments:
      same_outgoing: whether the outgoing weights are equal too.
    """
    v1, v2, w11, w12, w21, w22, x1, x2, y = sympy.symbols("v1 v2 w11 w12 w21 w22 x1 x2 y", real=True)
    output = v1 * sympy.tanh(w11 * x1 + w12 * x2) + v2 * sympy.tanh(w21 * x1 + w22 * x2)
    loss = (output - y) ** 2 / 2
    equal = {w21: w11, w22: w12} | ({v2: v1} if same_outgoing else {})
    gaps = [
        sympy.expand((sympy.diff(loss, a) - sympy.diff(loss, b)).subs(equal))
        for a, b in [(w11, w21), (w12, w22), (v1, v2)]
    ]
    return Finding.true_if(all(gap == 0 for gap in gaps), "equal" if not any(gaps) else "not equal")


def _problem(number: int, examples: int = 40, features: int = 6) -> tuple[Tensor, Tensor]:
    """Inputs (example, feature) and classes 0 to 2."""
    stream = Stream(number, "data")
    x = torch.from_numpy(stream.normal((examples, features)))
    return x, torch.from_numpy((stream.uniform(examples) * 3).astype(np.int64))


def gradients_differ(features: str) -> Finding:
    """Random problems, equal weights: do the gradients of different features, in either regression, differ?

    Arguments:
      features: "drawn" independently, or "copies" of one.
    """
    least = np.inf
    for number in range(TRIES):
        x, y = _problem(number)
        x = x[:, :1].expand(-1, 6) if features == "copies" else x
        w = torch.full((3, 6), 0.5, dtype=torch.float64, requires_grad=True)
        line = torch.full((6,), 0.5, dtype=torch.float64, requires_grad=True)
        loss = functional.cross_entropy(x @ w.T, y) + ((x @ line - y) ** 2).mean() / 2
        loss.backward()
        assert w.grad is not None
        assert line.grad is not None
        spread = torch.cat([w.grad.std(1), line.grad.std()[None]])
        least = min(least, float(spread.min()))
    return Finding.true_if(least > 1e-4, least=least, tries=TRIES)


def path_is_shifted(weight_decay: float) -> Finding:
    """Random problems, 100 steps in small batches with momentum: is W(c) = W(0) + c at every step?"""
    worst = 0.0
    for number in range(PATHS):
        x, y = _problem(number)
        c = float(Stream(number, "init").normal(1)[0])
        ways = [torch.full((3, 6), start, dtype=torch.float64, requires_grad=True) for start in (0.0, c)]
        optimizer = torch.optim.SGD(ways, lr=0.3, momentum=0.9, weight_decay=weight_decay)
        for step in range(PATH_STEPS):
            at = torch.from_numpy(Stream(number, "order", step=step).permutation(len(x))[:8])
            optimizer.zero_grad()
            for w in ways:
                functional.cross_entropy(x[at] @ w.T, y[at]).backward()
            optimizer.step()
            worst = max(worst, float((ways[1] - ways[0] - c).detach().abs().max()))
    return Finding.true_if(worst < 1e-12, worst_error=worst, tries=PATHS, steps=PATH_STEPS)


def finds_least_squares(examples: int) -> Finding:
    """Random linear problems of 6 features, equal weights of 1: does gradient descent end at NumPy's solution?"""
    worst = 0.0
    for number in range(TRIES):
        stream = Stream(number, "data")
        x, y = stream.normal((examples, 6)), stream.normal(examples)
        curvature = x.T @ x
        # All the steps at once: along each eigenvector the distance shrinks by (1 - rate·eigenvalue) a step.
        sizes, vectors = np.linalg.eigh(curvature)
        solution = np.linalg.lstsq(x, y, rcond=None)[0]
        left = (1 - np.where(sizes > 1e-9, sizes, 0) / sizes[-1]) ** 10_000_000
        end = solution + vectors @ (left * (vectors.T @ (np.ones(6) - solution)))
        worst = max(worst, float(np.abs(end - solution).max()))
    return Finding.true_if(worst < 1e-8, worst_error=worst, tries=TRIES)


def is_at_minimum(excesses: np.ndarray) -> Finding:
    """Is the loss of every start at the minimum?"""
    worst = float(np.abs(excesses).max())
    return Finding.true_if(worst < 1e-9, worst_error=worst)


def excesses(observations: Observations, step: int) -> np.ndarray:
    """Loss above its minimum, of every start."""
    held = observations["descent"]
    return held[held["step"] == step]["excess"].to_numpy(dtype=float)


def accuracy(observations: Observations, model: str, start: str) -> np.ndarray:
    """Test accuracy of each seed."""
    arms = observations["arms"]
    (arm,) = arms[(arms["model"] == model) & (arms["start"] == start)]["arm"]
    return observations.runs.values("test_accuracy", arm)


def gain(observations: Observations, model: str) -> np.ndarray:
    """How much more accurate random weights are than equal ones of 0.5, for each seed."""
    return accuracy(observations, model, "random") - accuracy(observations, model, "0.5")


# What is shown


def start_name(start: str, words: WordList) -> str:
    """How a start is named."""
    if start == "random":
        return words["starts.random"]
    return words("starts.all", value=show.number(float(start)))


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    return {
        "hidden_equal": mean_interval(accuracy(observations, "hidden", "0.5")),
        "hidden_random": mean_interval(accuracy(observations, "hidden", "random")),
        "decay": DECAY,
        "steps": STEPS,
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Test accuracy of both models from each start."""
    rows = []
    for _, arm in observations["arms"].iterrows():
        found = mean_interval(observations.runs.values("test_accuracy", str(arm["arm"])))
        label = (words.group("models")[str(arm["model"])], start_name(str(arm["start"]), words))
        rows.append([*label, show.percent_interval(found)])
    title = words("titles.test-accuracy-on-digits-n", num_seeds=observations.num_seeds)
    heads = (
        words["heads.model"],
        words["heads.weights-at-start"],
        words["heads.accuracy"],
    )
    return [Table(title, heads, rows)]


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """To the rounding of float64: how far the path from 0.5 ends from that from 0, and equal units from each other."""
    return {"gap": (0.0, 1e-9), "apart": (0.0, 1e-9)}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The loss from each start falls to one minimum; the accuracy of both models from each start."""
    alt = import_extra("altair", what="A figure", extra="book")
    held = observations["descent"]
    rows = held.assign(start=[start_name(str(s), words) for s in held["start"]])
    rows = rows[(rows["step"] > 0) & (rows["excess"] > 1e-13)]
    names = [start_name(s, words) for s in dict.fromkeys(held["start"])]
    title = words["titles.softmax-regression-convex-one-minimum"]
    axis = alt.Axis(format="~e", tickCount=6)
    colours = plots.colour_scale(alt, names)
    dashes = plots.dash_scale(alt, names)
    falling = (
        alt.Chart(rows, width=270, height=250, title=title)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("step:Q", scale=alt.Scale(type="log"), title=words["titles.step"]),
            y=alt.Y(
                "excess:Q",
                scale=alt.Scale(type="log"),
                axis=axis,
                title=words["titles.loss-above-its-minimum"],
            ),
            color=alt.Color("start:N", title=None, scale=colours),
            strokeDash=alt.StrokeDash("start:N", title=None, scale=dashes),
        )
    )  # fmt: skip
    return falling | _accuracies(alt, observations, words, names)


def _accuracies(alt: Any, observations: Observations, words: WordList, names: list[str]) -> Any:
    points = []
    for _, arm in observations["arms"].iterrows():
        found = mean_interval(observations.runs.values("test_accuracy", str(arm["arm"])))
        label = start_name(str(arm["start"]), words), words.group("models")[str(arm["model"])]
        points.append(
            {"start": label[0], "model": label[1], "mean": found.estimate}
            | {"low": found.ci_low, "high": found.ci_high}
        )
    models = list(words.group("models").values())
    note = words["labels.test-accuracy-mean-95-t"]
    head = words["labels.equal-weights-ruin-only-hidden"]
    base = alt.Chart(pd.DataFrame(points), width=230, height=95)
    y = alt.Y("start:N", sort=names, title=None)
    x = alt.X(
        "mean:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"),
        title=words["titles.test-accuracy"],
    )  # fmt: skip
    row = alt.Row(
        "model:N", sort=models, title=None, header=alt.Header(labelOrient="top", labelAnchor="start")
    )
    colour = alt.value(plots.PALETTE[0])
    layers = [
        base.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=colour),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y, x=x, color=colour),
    ]
    subtitle = note.format(observations.num_seeds)
    return alt.layer(*layers).facet(row=row, title=alt.TitleParams(head, subtitle=subtitle, anchor="start"))


ANSWER = Answer(
    observe=observe,
    takes=("seeds", "knobs"),
    claims=(
        Claim(
            name="shift-leaves-softmax",
            kind="proof",
            check=leaves_softmax,
            subject=lambda o: (0, 1, 2),
            falsehood=lambda o: (0, 1),
        ),
        Claim(
            name="path-is-shifted",
            kind="property",
            check=path_is_shifted,
            subject=lambda o: 0.0,
            falsehood=lambda o: 0.001,  # a penalty sees the shift
        ),
        Claim(
            name="gradients-differ",
            kind="property",
            check=gradients_differ,
            subject=lambda o: "drawn",
            falsehood=lambda o: "copies",
        ),
        Claim(
            name="curvature-is-not-negative",
            kind="proof",
            check=is_curvature,
            subject=lambda o: 1,
            falsehood=lambda o: -1,
        ),
        Claim(
            name="one-minimum",
            kind="calculation",
            check=is_at_minimum,
            subject=lambda o: excesses(o, STEPS),
            falsehood=lambda o: excesses(o, EARLY),
        ),
        Claim(
            name="least-squares-from-equal-weights",
            kind="property",
            check=finds_least_squares,
            subject=lambda o: 12,
            falsehood=lambda o: 5,
        ),
        Claim(
            name="as-accurate-as-random",
            kind="experiment",
            figures={"margin": 100 * MARGIN},
check=equivalent(margin=MARGIN, numbers={}),
            subject=lambda o: gain(o, "softmax"),
            falsehood=lambda o: gain(o, "softmax") + 2 * MARGIN,
            unit="points",
        ),
        Claim(
            name="hidden-units-stay-equal",
            kind="proof",
            check=units_stay_equal,
            subject=lambda o: True,
            falsehood=lambda o: False,
        ),
        Claim(
            name="hidden-layer-needs-random",
            kind="experiment",
            figures={"margin": 100 * MARGIN},
check=greater(MARGIN),
            subject=lambda o: gain(o, "hidden"),
            falsehood=lambda o: gain(o, "softmax"),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "course-not-by-symmetry-all",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="gradients-differ",
        ),
        Circulated(
            "product-inputs-and-updated-weights",
            {"holds": "wrong", "fails": "unsupported", "undecided": "unsupported"},
            by="as-accurate-as-random",
        ),
        Circulated(
            "every-weight-moves-alike",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="gradients-differ",
            source="datawhale",
        ),
        Circulated(
            "gradients-are-identical",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="gradients-differ",
            source="pandalabme",
        ),
        Circulated(
            "neurons-learn-the-same",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="hidden-units-stay-equal",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set epochs=20",
)  # fmt: skip
