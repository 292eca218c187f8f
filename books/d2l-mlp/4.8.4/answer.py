"""4.8.4 If we know that some terms diverge, can it be repaired afterwards?

Before a number is lost, steps can be held to a size: clipped, or measured by the layer's own norm (LARS). After that
only an earlier state helps. Both are tried, on a part of Fashion-MNIST and a network deep enough to be lost.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList, recentred
from mlplab.answers.checks import equivalent, greater, less
from mlplab.charts import plots, show
from mlplab.data import Dataset, Part
from mlplab.errors import import_extra
from mlplab.knobs import turn
from mlplab.optim import LARS
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.stats import mean_interval, prediction_interval, proportion_interval
from mlplab.study import Results, Study, factorial

from ..choice import CHANCE, LOST, scored, scored_losses

if TYPE_CHECKING:
    import altair

METHODS = {
    "sgd": {},
    "clip": {"clip_norm": 1.0},
    # With trust coefficient 1 the learning rate itself is the share of its norm by which a layer moves in a step.
    "lars": {"optimizer": "lars", "trust_coefficient": 1.0},
}
RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
SCALE = 1000.0  # by which the loss is multiplied in the second study
BATCHES = (32, 256)
BATCH_RATES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
MARGIN = 0.01  # of accuracy, within which runs count as equally good
DOUBLED = float(np.log10(2))
HALF_POWER = 0.5  # of ten: the step of the grid
BISECTIONS = 4  # of that step: a rate that loses a run is then known to 7%
GOOD_RATE, BAD_RATE = 0.1, 3.0  # of the network that is to be rescued
REPAIRS = ("lower_rate", "mend_weights", "roll_back")


def observe(lab: Lab) -> Observations:
    """Rates by methods; the best rates again on a loss that is 1000 times as large; two batch sizes; three repairs."""
    whole = lab.dataset("fashion-mnist", embedded="mnist-5k")
    dataset = part_of(whole, lab.choose(quick=3000, full=6000))
    base = lab.setting(
        turn(
            Setting(), hidden_sizes=(64, 64, 64), initialization="kaiming_normal", bias=False, batch_size=64,
            epochs=3, evaluate_every=3,
        )
    )  # fmt: skip
    seeds, rates = lab.seeds(quick=6, full=20), lab.choose(quick=RATES[1:-1], full=RATES)
    frames, best, edges = [], {}, []
    halvings = lab.choose(quick=2, full=BISECTIONS)
    for method, knobs in METHODS.items():
        setting = turn(base, **knobs)
        runs = lab.run(Study(factorial(setting, learning_rate=rates), seeds, dataset))
        best[method] = best_rate(runs)
        again = lab.run(Study(factorial(setting, learning_rate=[best[method]]), seeds, louder(dataset)))
        frames += [_named(runs, method, 1.0), _named(again, method, SCALE)]
        edges += [
            {"method": method} | row for row in bisected(lab, setting, dataset, runs, best[method], halvings)
        ]
    updates = -(
        -dataset.train.num_examples // BATCHES[0]
    )  # one epoch of the small batches, and as many of the large
    for size in BATCHES:
        epochs = round(updates / -(-dataset.train.num_examples // size))
        setting = turn(base, batch_size=size, epochs=epochs, evaluate_every=epochs)
        chosen = lab.choose(quick=BATCH_RATES[1:-1], full=BATCH_RATES)
        runs = lab.run(Study(factorial(setting, learning_rate=chosen), seeds, dataset))
        frames.append(_named(runs, f"batch {size}", 1.0))
        rows = bisected(lab, setting, dataset, runs, min(chosen), halvings)
        edges += [{"method": f"batch {size}"} | row for row in rows]
    rescued = [row for seed in seeds for row in rescues(dataset, base.model.hidden_sizes, seed)]
    return lab.observations(
        runs=pd.concat(frames, ignore_index=True), edges=pd.DataFrame(edges), rescues=pd.DataFrame(rescued)
    )


def part_of(dataset: Dataset, num_train: int) -> Dataset:
    """The first images of each part."""

    def first(part: Part, count: int) -> Part:
        return Part(part.features[:count], part.targets[:count])

    parts = {"train": num_train, "validation": num_train // 3, "test": num_train // 3}
    held = dataset.parts
    return dataclasses.replace(
        dataset, **{name: first(held[name], count) for name, count in parts.items()}, fingerprint=""
    )


def louder(dataset: Dataset) -> Dataset:
    """The same examples with a loss, and so a gradient, SCALE times as large."""
    train = dataset.train
    weights = np.full(train.num_examples, SCALE, dtype=np.float32)
    return dataclasses.replace(dataset, train=Part(train.features, train.targets, weights), fingerprint="")


def best_rate(runs: Results) -> float:
    """The rate with the best mean validation accuracy; a run that diverged guesses."""
    frame = runs.frame.assign(score=scored(runs.frame["validation_accuracy"]))
    means = frame.groupby("learning_rate")["score"].mean()
    return float(means.index.to_numpy()[means.to_numpy().argmax()])


def bisected(
    lab: Lab, setting: Setting, dataset: Dataset, runs: Results, start: float, halvings: int
) -> list[dict[str, Any]]:
    """For each seed a rate that leaves the run and one, close above it, that loses it: `low` and `high`.

    From the grid's first loss at `start` or above the bracket is halved, in the logarithm. A run that the grid does
    not lose is taken to be lost a step beyond it.
    """
    accuracy = runs.frame.pivot_table(
        index="learning_rate", columns="seed", values="test_accuracy", dropna=False
    )
    grid = [float(rate) for rate in accuracy.index]
    step = grid[1] / grid[0]
    brackets = {}
    for seed in accuracy.columns:
        lost = scored(accuracy[seed]) < LOST
        high = next(
            (rate for rate, is_lost in zip(grid, lost, strict=True) if is_lost and rate >= start), None
        )
        top = grid[-1] * grid[-1] / grid[-2] if high is None else high
        brackets[int(seed)] = (max((rate for rate in grid if rate < top), default=top / step), top)
    for _ in range(halvings):
        middles = {seed: float(f"{(low * high) ** 0.5:.4g}") for seed, (low, high) in brackets.items()}
        for middle in sorted(set(middles.values())):
            seeds = [seed for seed in brackets if middles[seed] == middle]
            found = lab.run(Study(factorial(setting, learning_rate=[middle]), seeds, dataset))
            lost = scored(found.values("test_accuracy", found.arms[0])) < LOST
            for seed, is_lost in zip(seeds, lost, strict=True):
                low, high = brackets[seed]
                brackets[seed] = (low, middle) if is_lost else (middle, high)
    return [{"seed": seed, "low": low, "high": high} for seed, (low, high) in brackets.items()]


def _named(runs: Results, method: str, scale: float) -> pd.DataFrame:
    kept = ["seed", "status", "learning_rate", "validation_loss", "validation_accuracy", "test_accuracy"]
    frame = runs.frame[kept].copy()
    for metric in kept[3:]:
        frame[metric] = [float(f"{value:.5g}") for value in frame[metric]]
    arms = [arm_name(method, float(rate), scale) for rate in frame["learning_rate"]]
    return frame.assign(arm=arms, method=method, scale=scale)


def arm_name(method: str, rate: float, scale: float = 1.0) -> str:
    """An arm of the table of runs."""
    return f"{method} rate={rate:g}" + ("" if scale == 1 else f" loss x {scale:g}")


# Repairs after the fact


def rescues(dataset: Dataset, hidden_sizes: tuple[int, ...], seed: int) -> list[dict[str, Any]]:
    """An epoch at a good rate (a checkpoint), one at a bad rate, then a repair and two epochs at the good rate."""
    sizes = [dataset.in_features, *hidden_sizes, dataset.out_features]
    start = [
        torch.from_numpy(Stream(seed, "init", layer=i).normal((b, a))).float() * (2 / a) ** 0.5
        for i, (a, b) in enumerate(itertools.pairwise(sizes))
    ]
    checkpoint = _epoch(dataset, start, GOOD_RATE, seed, 0)
    broken = _epoch(dataset, checkpoint, BAD_RATE, seed, 1)
    lost = sum(int((~w.isfinite()).sum()) for w in broken)
    active = int((_hidden(broken, torch.from_numpy(dataset.train.features)) > 0).sum())
    rows = []
    for repair in REPAIRS:
        weights = {
            "lower_rate": lambda: broken,
            "mend_weights": lambda: mended(broken, checkpoint),
            "roll_back": lambda: checkpoint,
        }[repair]()
        for epoch in (2, 3):
            weights = _epoch(dataset, weights, GOOD_RATE, seed, epoch)
        row = {"repair": repair, "seed": seed, "test_accuracy": accuracy(dataset, weights)}
        rows.append(
            row | {"not_finite": lost, "active": active, "at_checkpoint": accuracy(dataset, checkpoint)}
        )
    return rows


def mended(broken: list[Tensor], checkpoint: list[Tensor]) -> list[Tensor]:
    """What is not finite becomes 0; then each layer is scaled to the norm that it had at the checkpoint."""
    finite = [torch.nan_to_num(w, nan=0.0, posinf=0.0, neginf=0.0) for w in broken]
    return [w * (c.norm() / w.norm().clamp(min=1e-12)) for w, c in zip(finite, checkpoint, strict=True)]


def _hidden(weights: list[Tensor], x: Tensor) -> Tensor:
    """The last hidden layer."""
    for w in weights[:-1]:
        x = torch.relu(x @ w.T)
    return x


def _forward(weights: list[Tensor], x: Tensor) -> Tensor:
    return _hidden(weights, x) @ weights[-1].T


def _epoch(dataset: Dataset, start: list[Tensor], rate: float, seed: int, epoch: int) -> list[Tensor]:
    x, y = torch.from_numpy(dataset.train.features), torch.from_numpy(dataset.train.targets)
    weights = [w.clone().requires_grad_() for w in start]
    optimizer = torch.optim.SGD(weights, lr=rate)
    for rows in torch.from_numpy(Stream(seed, "order", step=epoch).permutation(len(x))).split(64):
        optimizer.zero_grad()
        functional.cross_entropy(_forward(weights, x[rows]), y[rows]).backward()
        optimizer.step()
    return [w.detach() for w in weights]


def accuracy(dataset: Dataset, weights: list[Tensor]) -> float:
    """On test images; a network whose output is not finite guesses."""
    assert dataset.test is not None
    outputs = _forward(weights, torch.from_numpy(dataset.test.features))
    if not outputs.isfinite().all():
        return CHANCE
    return float((outputs.argmax(1) == torch.from_numpy(dataset.test.targets)).float().mean())


# Laws of a step

TRIES = 50


def moves_by_share_of_norm(shape: tuple[int, ...]) -> Finding:
    """Random tensors of this shape, gradients from 10^-6 to 10^6: does LARS move by rate x its norm each time?"""
    worst = 0.0
    for number in range(TRIES):
        stream = Stream(number, "data")
        w, g = (torch.from_numpy(stream.normal(shape)) for _ in range(2))
        moved = _step(LARS, w, g * 10.0 ** (number % 13 - 6), lr=0.01, trust_coefficient=1.0, eps=0.0)
        worst = max(worst, abs(float((moved - w).norm() / (0.01 * w.norm())) - 1))
    return Finding.true_if(worst < 1e-9, worst_error=worst, tries=TRIES)


def _step(
    optimizer: Callable[..., torch.optim.Optimizer], w: Tensor, gradient: Tensor, **options: Any
) -> Tensor:
    parameter = nn.Parameter(w.clone())
    parameter.grad = gradient.clone()
    optimizer([parameter], **options).step()
    return parameter.detach()


def path_ignores_scale(bias: bool) -> Finding:
    """A small network, 30 steps of LARS: is the path on a loss 10^6 times as large the same?"""
    worst = 0.0
    for number in range(5):
        stream = Stream(number, "data")
        x = torch.from_numpy(stream.normal((64, 8)))
        y = torch.from_numpy((stream.uniform(64) * 3).astype(np.int64))
        shapes = [(16, 8), (3, 16)]
        starts = [
            torch.from_numpy(Stream(number, "init", layer=i).normal(s)) / 3 for i, s in enumerate(shapes)
        ]
        ends = [_descend(x, y, starts, bias, scale) for scale in (1.0, 1e6)]
        worst = max(worst, *(float((a - b).norm() / a.norm()) for a, b in zip(*ends, strict=True)))
    return Finding.true_if(worst < 1e-4, worst_error=worst, tries=5)


def _descend(x: Tensor, y: Tensor, starts: list[Tensor], bias: bool, scale: float) -> list[Tensor]:
    weights = [nn.Parameter(w.clone()) for w in starts]
    shift = nn.Parameter(torch.zeros(len(starts[0]), dtype=torch.float64))
    optimizer = LARS([*weights, *([shift] if bias else [])], lr=0.02, trust_coefficient=1.0)
    for _ in range(30):
        optimizer.zero_grad()
        outputs = torch.tanh(x @ weights[0].T + shift) @ weights[1].T
        (scale * functional.cross_entropy(outputs, y)).backward()
        optimizer.step()
    return [w.detach() for w in weights]


def bounds_the_norm(clip: Callable[[nn.Parameter, float], Any]) -> Finding:
    """Random gradients of up to 10^6: does this clipping bring their norm to at most 1?"""
    largest = 0.0
    for number in range(TRIES):
        parameter = nn.Parameter(torch.zeros(20, 10, dtype=torch.float64))
        parameter.grad = torch.from_numpy(Stream(number, "data").normal((20, 10))) * 10.0 ** (number % 7)
        clip(parameter, 1.0)
        largest = max(largest, float(parameter.grad.norm()))
    return Finding.true_if(largest <= 1 + 1e-9, largest=largest, tries=TRIES)


def cannot_be_rescaled(value: float) -> Finding:
    """One entry of a gradient is this: after each way of making it smaller, are the weights lost after a step?"""
    g = torch.ones(4, 3, dtype=torch.float64)
    g[1, 2] = value
    w = torch.ones(4, 3, dtype=torch.float64)
    ways = {
        "a smaller rate": lambda: _step(torch.optim.SGD, w, g, lr=1e-30),
        "clipping by norm": lambda: _clipped(w, g, nn.utils.clip_grad_norm_),
        "clipping by value": lambda: _clipped(w, g, nn.utils.clip_grad_value_),
        "LARS": lambda: _step(LARS, w, g, lr=0.01),
    }
    survive = [name for name, way in ways.items() if bool(way().isfinite().all())]
    return Finding.true_if(not survive, f"saved by: {', '.join(survive) or 'nothing'}", ways=len(ways))


def _clipped(w: Tensor, g: Tensor, clip: Callable[[nn.Parameter, float], Any]) -> Tensor:
    parameter = nn.Parameter(w.clone())
    parameter.grad = g.clone()
    clip(parameter, 1.0)
    torch.optim.SGD([parameter], lr=0.01).step()
    return parameter.detach()


# Comparisons of runs


def final(observations: Observations, method: str, rate: float, scale: float = 1.0) -> np.ndarray:
    """Test accuracy by seed; diverged runs guess."""
    return scored(observations.runs.values("test_accuracy", arm_name(method, rate, scale)))


def rates(observations: Observations, method: str) -> list[float]:
    """The rates at which a method was tried, ascending."""
    frame = observations["runs"]
    chosen = frame[(frame["method"] == method) & (frame["scale"] == 1)]
    return sorted({float(rate) for rate in chosen["learning_rate"]})


def best(observations: Observations, method: str) -> float:
    """The rate that was chosen for a method on validation images: the one that was tried on the larger loss too."""
    frame = observations["runs"]
    return float(frame[(frame["method"] == method) & (frame["scale"] == SCALE)]["learning_rate"].iloc[0])


def first_lost(observations: Observations, method: str) -> np.ndarray:
    """For each seed log₁₀ of the rate from which on the run is lost: the middle of its bracket."""
    edges = observations["edges"]
    own = edges[edges["method"] == method].sort_values("seed")
    return np.log10(own["low"].to_numpy(dtype=float) * own["high"].to_numpy(dtype=float)) / 2


def best_rates(observations: Observations, method: str) -> np.ndarray:
    """For each seed log₁₀ of the best rate: the vertex of the parabola through its validation losses at the grid's best
    rate and its two neighbours. Nowhere beyond the neighbours, and at the grid's edge the grid's best itself."""
    grid = rates(observations, method)
    place = grid.index(best(observations, method))
    if not 0 < place < len(grid) - 1:
        return np.full(observations.num_seeds, np.log10(grid[place]))
    logs = np.log10(grid[place - 1 : place + 2])
    losses = np.stack(
        [
            scored_losses(observations.runs.values("validation_loss", arm_name(method, rate)))
            for rate in grid[place - 1 : place + 2]
        ]
    )
    vertices = []
    for own in losses.T:
        bend, slope, _ = np.polyfit(logs - logs[1], own, 2)
        vertices.append(-slope / (2 * bend) if bend > 0 else logs[own.argmin()] - logs[1])
    return logs[1] + np.clip(vertices, logs[0] - logs[1], logs[2] - logs[1])


def headroom(observations: Observations, method: str) -> np.ndarray:
    """For each seed, how many powers of ten lie between its best rate and the first that loses the run."""
    return first_lost(observations, method) - best_rates(observations, method)


def change_with_scale(observations: Observations, method: str) -> np.ndarray:
    """Accuracy on the larger loss minus that on the ordinary one, at the same rate, for each seed."""
    rate = best(observations, method)
    return final(observations, method, rate, SCALE) - final(observations, method, rate)


def batch_gain(observations: Observations) -> np.ndarray:
    """By how many powers of ten the first lost rate is higher with large batches, for each seed."""
    small, large = (first_lost(observations, f"batch {size}") for size in BATCHES)
    return large - small


def rescued(observations: Observations, repair: str) -> np.ndarray:
    """Test accuracy by seed after a repair."""
    held = observations["rescues"]
    return held[held["repair"] == repair].sort_values("seed")["test_accuracy"].to_numpy(dtype=float)


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    seen = observations["rescues"]
    one = seen[seen["repair"] == "roll_back"]
    return {
        "best": {method: best(observations, method) for method in METHODS},
        "accuracy": {m: mean_interval(final(observations, m, best(observations, m))) for m in METHODS},
        "loud": {m: mean_interval(final(observations, m, best(observations, m), SCALE)) for m in METHODS},
        "headroom": {method: mean_interval(headroom(observations, method)) for method in METHODS},
        "rescued": {repair: mean_interval(rescued(observations, repair)) for repair in REPAIRS},
        "checkpoint": mean_interval(one["at_checkpoint"].to_numpy(dtype=float)),
        "num_not_finite": int((one["not_finite"] > 0).sum()),
        "num_dead": int(((one["not_finite"] == 0) & (one["active"] == 0)).sum()),
        "scale": SCALE,
        "good_rate": GOOD_RATE,
        "bad_rate": BAD_RATE,
        "small_batch": BATCHES[0],
        "large_batch": BATCHES[1],
        "doubled": DOUBLED,
        "bisected": _bracket(observations),
    }


def _bracket(observations: Observations) -> float:
    """By what share the rate that loses a run lies at most above one that leaves it."""
    edges = observations["edges"]
    return float((edges["high"] / edges["low"]).max() - 1)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Share of lost runs by rate and method; what repairs achieve."""
    rows = []
    for rate in rates(observations, "sgd"):
        shares = [_lost_share(observations, method, rate) for method in METHODS]
        cells = [f"{s.num_replicates * s.estimate:.0f} / {s.num_replicates}" for s in shares]
        accuracies = [
            show.stacked(show.percent_interval(mean_interval(final(observations, method, rate))))
            for method in METHODS
        ]
        rows.append([f"{rate:g}", *(f"{a}\n{c}" for a, c in zip(accuracies, cells, strict=True))])
    title = words("titles.accuracy-by-rate", num_seeds=observations.num_seeds, lost=LOST)
    repairs = Table(
        words("titles.accuracy-by-repair", good_rate=GOOD_RATE, bad_rate=BAD_RATE),
        (words["heads.repair"], words["heads.accuracy"]),
        [
            [label, show.percent_interval(mean_interval(rescued(observations, repair)))]
            for repair, label in words.group("repair_names").items()
        ],
    )
    heads = (words["heads.learning-rate"], *words.group("names").values())
    return [Table(title, heads, rows), repairs]


def _lost_share(observations: Observations, method: str, rate: float) -> Any:
    lost = final(observations, method, rate) < LOST
    return proportion_interval(int(lost.sum()), len(lost))


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The test accuracy of one run at each method's best rate; for LARS on the larger loss, too."""
    sgd, lars = (final(observations, method, best(observations, method)) for method in ("sgd", "lars"))
    loud = final(observations, "lars", best(observations, "lars"), SCALE)
    names = {"sgd_right": sgd, "lars_right": lars, "lars_loud": loud}
    return {name: prediction_interval(accuracies) for name, accuracies in names.items()}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The share of lost runs against the rate over the method's best; and what the larger loss does at that rate."""
    alt = import_extra("altair", what="A figure", extra="book")
    names = list(words.group("names").values())
    lost = []
    for method, label in words.group("names").items():
        for rate in rates(observations, method):
            share = _lost_share(observations, method, rate)
            named = {"method": label, "rate": rate}
            lost.append(named | {"value": share.estimate, "low": share.ci_low, "high": share.ci_high})
    colour = alt.Color(
        "method:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", columns=1, labelLimit=300, symbolType="stroke", symbolOpacity=1),
    )  # fmt: skip
    dash = alt.StrokeDash("method:N", title=None, scale=plots.dash_scale(alt, names))
    note = words["labels.share-note"]
    base = alt.Chart(pd.DataFrame(lost), width=300, height=260).encode(
        x=alt.X(
            "rate:Q", scale=alt.Scale(type="log", nice=False, padding=12),
            title=words["titles.learning-rate"],
        ),
        color=colour,
    ).properties(
        title=alt.TitleParams(
            words["labels.runs-lost"],
            subtitle=note.format(observations.num_seeds), anchor="start", subtitleFontSize=11,
        )
    )  # fmt: skip
    axis = alt.Axis(format="%")
    y = alt.Y("value:Q", title=words["titles.share-of-runs"], axis=axis)
    left = (
        base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q")
        + base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash)
        + base.mark_point(filled=True, size=45, opacity=1).encode(y=y)
    )
    return left | _bars(alt, observations, words)


def _bars(alt: Any, observations: Observations, words: WordList) -> Any:
    """Accuracy after each repair, and of each method on both losses."""
    loss = words["labels.loss-times"]
    rows = []
    for method, label in words.group("names").items():
        for scale in (1.0, SCALE):
            found = mean_interval(final(observations, method, best(observations, method), scale))
            rows.append((f"{label}, {loss.format(scale)}", "scale", found))
    for repair, label in words.group("repair_names").items():
        rows.append((label, "repair", mean_interval(rescued(observations, repair))))
    heads = {
        "scale": words["labels.at-the-best-rate"],
        "repair": words["labels.repaired"],
    }
    frame = pd.DataFrame(
        [
            {"name": name, "part": heads[part], "value": f.estimate, "low": f.ci_low, "high": f.ci_high}
            for name, part, f in rows
        ]
    )
    y = alt.Y("name:N", sort=[name for name, _, _ in rows], title=None, axis=alt.Axis(labelLimit=330))
    x = alt.X(
        "value:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%"),
        title=words["titles.test-accuracy"],
    )  # fmt: skip
    note = words["labels.mean-note"]
    panels = []
    for part, head in heads.items():
        heading = alt.TitleParams(
            head, subtitle=note.format(observations.num_seeds), anchor="start", subtitleFontSize=11
        )
        base = alt.Chart(frame[frame["part"] == head], width=240, height=alt.Step(22), title=heading)
        colour = alt.value(plots.PALETTE[0] if part == "scale" else plots.PALETTE[1])
        panels.append(
            base.mark_rule(strokeWidth=2).encode(y=y, x=alt.X("low:Q"), x2="high:Q", color=colour)
            + base.mark_point(filled=True, size=60, opacity=1).encode(y=y, x=x, color=colour)
        )
    return alt.vconcat(*panels)


ANSWER = Answer(
    observe=observe,
    claims=(
        Claim(
            name="lars-moves-by-a-share-of-the-norm",
            kind="property",
            check=moves_by_share_of_norm,
            subject=lambda o: (6, 4),
            falsehood=lambda o: (6,),  # a bias takes the plain step
        ),
        Claim(
            name="lars-path-ignores-the-scale",
            kind="property",
            check=path_ignores_scale,
            subject=lambda o: False,
            falsehood=lambda o: True,
        ),
        Claim(
            name="clipping-bounds-the-step",
            kind="property",
            check=bounds_the_norm,
            subject=lambda o: nn.utils.clip_grad_norm_,
            falsehood=lambda o: nn.utils.clip_grad_value_,
        ),
        Claim(
            name="a-nan-cannot-be-rescaled",
            kind="property",
            check=cannot_be_rescaled,
            subject=lambda o: float("nan"),
            falsehood=lambda o: 1e30,
        ),
        Claim(
            name="a-larger-loss-ruins-sgd",
            kind="experiment",
            check=less(-0.2),
            subject=lambda o: change_with_scale(o, "sgd"),
            falsehood=lambda o: change_with_scale(o, "lars"),
            unit="points",
        ),
        Claim(
            name="a-larger-loss-leaves-lars",
            kind="experiment",
            check=equivalent(margin=MARGIN, numbers={}),
            subject=lambda o: change_with_scale(o, "lars"),
            falsehood=lambda o: change_with_scale(o, "sgd"),
            unit="points",
        ),
        Claim(
            name="lars-bears-no-larger-excess",
            kind="experiment",
            check=less(HALF_POWER),
            subject=lambda o: headroom(o, "lars") - headroom(o, "sgd"),
            falsehood=lambda o: recentred(headroom(o, "lars") - headroom(o, "sgd"), 2 * HALF_POWER),
            unit="log10",
        ),
        Claim(
            name="larger-batches-double-the-rate",
            kind="experiment",
            figures={"batches": BATCHES[1], "batches_2": BATCHES[0]},
            check=greater(DOUBLED),
            subject=batch_gain,
            falsehood=lambda o: np.zeros_like(batch_gain(o)),
            unit="log10",
        ),
        Claim(
            name="a-lower-rate-is-too-late",
            kind="experiment",
            check=greater(0.2),
            subject=lambda o: rescued(o, "roll_back") - rescued(o, "lower_rate"),
            falsehood=lambda o: rescued(o, "roll_back") - rescued(o, "roll_back"),
            unit="points",
        ),
        Claim(
            name="rescaled-weights-are-not-the-old-ones",
            kind="experiment",
            check=greater(),
            subject=lambda o: rescued(o, "roll_back") - rescued(o, "mend_weights"),
            falsehood=lambda o: rescued(o, "mend_weights") - rescued(o, "roll_back"),
            unit="points",
        ),
    ),
    circulated=(
        Circulated(
            "larger-batches",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="larger-batches-double-the-rate",
        ),
        Circulated(
            "a-rate-for-each-layer",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="lars-path-ignores-the-scale",
        ),
        Circulated(
            "norm-over-gradient",
            {"holds": "right", "fails": "unsupported", "undecided": "unsupported"},
            by="lars-path-ignores-the-scale",
            source="datawhale",
        ),
        Circulated(
            "a-list-of-remedies",
            {"holds": "incomplete", "fails": "right", "undecided": "unsupported"},
            by="a-nan-cannot-be-rescaled",
            source="pandalabme",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--set momentum=0.9",
)  # fmt: skip
