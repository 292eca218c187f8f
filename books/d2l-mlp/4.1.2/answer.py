"""4.1.2 Why is a network of affine layers and ReLU (or pReLU) a continuous piecewise linear function?

The proof goes by closure: affine maps and pReLU are of the kind, and sums and compositions stay in it. On networks with
one input everything is checked in fractions, without rounding. The converse, which the notes give instead of an answer,
is true as well on the line, and is built.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch
from torch import nn

from mlplab.analysis.piecewise_function import PiecewiseLinear, to_network
from mlplab.analysis.piecewise_line import breakpoints, from_network
from mlplab.answers import Answer, Circulated, Claim, Finding, Observations, Table, WordList
from mlplab.charts import plots
from mlplab.errors import import_extra
from mlplab.rng import Stream

if TYPE_CHECKING:
    import altair

ALPHA = sympy.Symbol("alpha", real=True)
POSITIVE = sympy.Symbol("t", positive=True)
SIZES = ((1, 4, 1), (1, 8, 1), (1, 4, 3, 1), (1, 4, 3, 3, 1))
TRIES = 6  # networks of each size and activation
SLOPE = 0.25  # the α of pReLU: a binary fraction, so that float64 holds it exactly
PIECES = range(1, 51)
WIDTH, DEPTHS = 2, (1, 2, 3, 4, 5, 6)

Knots = Sequence[Fraction]


# The steps of the proof


def prelu(x: Any) -> sympy.Expr:
    """pReLU as the section defines it; ReLU is α = 0."""
    return sympy.Max(0, x) + ALPHA * sympy.Min(0, x)


def step(x: Any) -> sympy.Expr:
    """pReLU with a jump of 1 at 0: linear on both sides, not continuous."""
    return sympy.Max(0, x) + ALPHA * sympy.Min(0, x) + (1 + sympy.sign(x)) / 2


def is_continuous_and_linear_beside_0(function: Callable[[Any], Any]) -> Finding:
    """With t > 0, x = ±t: is the second derivative 0 on both sides, and do both meet at 0?"""
    bends = [sympy.simplify(sympy.diff(function(side * POSITIVE), POSITIVE, 2)) for side in (1, -1)]
    ends = [sympy.limit(function(side * POSITIVE), POSITIVE, 0) for side in (1, -1)]
    detail = f"second derivatives {bends}, limits at 0 {ends}"
    return Finding.true_if(bends == [0, 0] and sympy.simplify(ends[0] - ends[1]) == 0, detail)


def sum_bends_only_at(knots_of: Callable[[PiecewiseLinear, PiecewiseLinear], Knots]) -> Finding:
    """Random f and g in fractions: is f + g straight between these knots?"""
    return _straight_between(knots_of, lambda f, g: lambda x: f(x)[:, 0] + g(x)[:, 0])


def composition_bends_only_at(knots_of: Callable[[PiecewiseLinear, PiecewiseLinear], Knots]) -> Finding:
    """Random f and g in fractions: is g(f(x)) straight between these knots?"""
    return _straight_between(knots_of, lambda f, g: lambda x: g(f(x)[:, 0])[:, 0])


def union(f: PiecewiseLinear, g: PiecewiseLinear) -> Knots:
    """Where f or g bends."""
    return [*f.breakpoints, *g.breakpoints]


def pulled_back(f: PiecewiseLinear, g: PiecewiseLinear) -> Knots:
    """Where f bends, and where f passes a value at which g bends: on each piece of f that is one point at most."""
    knots = list(f.breakpoints)
    for row in f.table().itertuples():
        if row.slope:
            at = [(knot - row.intercept) / row.slope for knot in g.breakpoints]
            knots += [x for x in at if row.start < x < row.end]
    return knots


def _straight_between(
    knots_of: Callable[[PiecewiseLinear, PiecewiseLinear], Knots],
    combine: Callable[[PiecewiseLinear, PiecewiseLinear], Callable[[np.ndarray], np.ndarray]],
) -> Finding:
    bends, looked_at = 0, 0
    for number in range(20):
        f, g = (random_function(2 + number % 6, 2 * number + which) for which in (0, 1))
        made = combine(f, g)
        for start, end in _gaps(knots_of(f, g)):
            bends += bend(made, start, end) != 0
            looked_at += 1
    detail = f"second differences on {looked_at} pieces, {bends} of them not 0"
    return Finding.true_if(bends == 0, detail, looked_at=looked_at)


def _gaps(knots: Knots) -> list[tuple[Fraction, Fraction]]:
    """The stretches between knots; the outer two cut off at a distance."""
    inner = sorted(set(knots))
    return list(itertools.pairwise([inner[0] - 7, *inner, inner[-1] + 7]))


def bend(function: Callable[[np.ndarray], np.ndarray], start: Fraction, end: Fraction) -> Fraction:
    """The first second difference over four equal steps that is not 0; 0 if the function is straight there."""
    at = np.array([start + (end - start) * Fraction(i, 4) for i in range(5)], dtype=object)
    value = function(at)
    return next((d for d in value[2:] - 2 * value[1:-1] + value[:-2] if d), Fraction(0))


# Networks


def network(sizes: Sequence[int], alpha: float, seed: int) -> nn.Sequential:
    """Weights and biases N(0, 1), rounded to 1/16: their fractions stay short. α = 0 is ReLU."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        linear, stream = nn.Linear(before, after, dtype=torch.float64), Stream(seed, "init", layer=index)
        with torch.no_grad():
            for part in (linear.weight, linear.bias):
                part.copy_(torch.from_numpy(np.round(16 * stream.normal(tuple(part.shape))) / 16))
        layers += [linear, nn.LeakyReLU(alpha) if alpha else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def in_fractions(net: nn.Sequential) -> Callable[[np.ndarray], np.ndarray]:
    """The network as plain loops over fractions: knows nothing of breakpoints."""

    def value(x: Fraction) -> Fraction:
        units = [x]
        for layer in net:
            if isinstance(layer, nn.Linear):
                weight, bias = layer.weight.tolist(), layer.bias.tolist()
                units = [
                    sum((Fraction(w) * u for w, u in zip(row, units, strict=True)), Fraction(b))
                    for row, b in zip(weight, bias, strict=True)
                ]
            else:
                slope = Fraction(getattr(layer, "negative_slope", 0))
                units = [u if u > 0 else slope * u for u in units]
        return units[0]

    return lambda x: np.array([value(at) for at in x], dtype=object)


@cache  # every check looks at the same networks
def drawn() -> tuple[tuple[nn.Sequential, PiecewiseLinear], ...]:
    """Random networks with one input, and their pieces in fractions."""
    nets = [
        network(sizes, alpha, number)
        for number, (sizes, alpha) in enumerate(itertools.product(SIZES * TRIES, (0.0, SLOPE)))
    ]
    return tuple((net, from_network(net, exact=True)) for net in nets)


def is_straight_between(breakpoints_of: Callable[[PiecewiseLinear], Knots]) -> Finding:
    """The networks' second differences: 0 between these points, and not 0 across any of them?"""
    wrong, num_breakpoints = 0, 0
    for net, f in drawn():
        value, knots = in_fractions(net), breakpoints_of(f)
        num_breakpoints += len(knots)
        if not len(knots):
            continue
        gaps = _gaps(knots)
        wrong += sum(bend(value, start, end) != 0 for start, end in gaps)
        for (start, knot), (_, end) in itertools.pairwise(gaps):
            half = min(knot - start, end - knot)
            wrong += bend(value, knot - half, knot + half) == 0
    return Finding.true_if(
        wrong == 0, f"{wrong} places disagree", num_networks=len(drawn()), num_breakpoints=num_breakpoints
    )


def pieces_stay_below(bound: Callable[[Sequence[int]], int]) -> Finding:
    """Random networks, and those that fold: pieces against a bound from the sizes of the hidden layers."""
    found = [(widths(net), f.num_pieces) for net, f in drawn()]
    found += [((WIDTH,) * depth, pieces_of_sawtooth(depth)) for depth in DEPTHS]
    above = [(sizes, pieces) for sizes, pieces in found if pieces > bound(sizes)]
    detail = f"{above[-1][1]} pieces from layers of {above[-1][0]}" if above else f"{len(found)} networks"
    return Finding.true_if(not above, detail, tries=len(found))


def widths(net: nn.Sequential) -> tuple[int, ...]:
    """Sizes of the hidden layers."""
    return tuple(layer.out_features for layer in net if isinstance(layer, nn.Linear))[:-1]


def sawtooth(depth: int) -> nn.Sequential:
    """Layers of two units, each of which folds [0, 1] onto itself: x becomes 2x up to the middle, then 2 - 2x."""
    layers: list[nn.Module] = []
    for index in range(depth):
        hidden = nn.Linear(1 if index == 0 else 2, 2, dtype=torch.float64)
        with torch.no_grad():
            folds = torch.tensor([[2.0], [4.0]]) if index == 0 else torch.tensor([[2.0, -2.0], [4.0, -4.0]])
            hidden.weight.copy_(folds)
            hidden.bias.copy_(torch.tensor([0.0, -2.0]))
        layers += [hidden, nn.ReLU()]
    last = nn.Linear(2, 1, dtype=torch.float64)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[1.0, -1.0]]))
        last.bias.zero_()
    return nn.Sequential(*layers, last)


@cache
def pieces_of_sawtooth(depth: int) -> int:
    """Pieces on [0, 1], counted in fractions."""
    return breakpoints(sawtooth(depth), [0.0], [1.0], exact=True).num_pieces


def folds_into(count: Callable[[int], int]) -> Finding:
    """Has the sawtooth of each depth this many pieces?"""
    found = {depth: pieces_of_sawtooth(depth) for depth in DEPTHS}
    deepest = DEPTHS[-1]
    return Finding.true_if(
        all(pieces == count(depth) for depth, pieces in found.items()),
        ", ".join(f"{depth} layers: {pieces}" for depth, pieces in found.items()),
        depth=deepest,
        units=WIDTH * deepest,
        pieces=found[deepest],
    )


# The converse


def random_function(pieces: int, seed: int) -> PiecewiseLinear:
    """Breakpoints at sixteenths, slopes in eighths, no two neighbours alike: float64 holds its network exactly."""
    stream = Stream(seed, "data", step=pieces)
    knots = np.sort(stream.permutation(1000)[: pieces - 1] - 500)
    x = [Fraction(int(knot), 16) for knot in knots]
    slopes = [Fraction(int(stream.permutation(32)[0]) - 16, 8)]
    while len(slopes) < pieces:
        slope = Fraction(int(stream.permutation(32)[0]) - 16, 8)
        slopes += [slope] if slope != slopes[-1] else []
    values = [Fraction(int(stream.permutation(64)[0]) - 32, 8)]
    for (start, end), slope in zip(itertools.pairwise(x), slopes[1:-1], strict=True):
        values.append(values[-1] + slope * (end - start))
    return PiecewiseLinear(*(np.array(part, dtype=object) for part in (x, values, slopes)))


def is_built_with(builder: Callable[[PiecewiseLinear], nn.Sequential]) -> Finding:
    """Functions of 1 to 50 pieces: at most p hidden units (two for p = 1), and the same pieces, exactly?"""
    for pieces in PIECES:
        f = random_function(pieces, pieces)
        net = builder(f)
        (units,) = widths(net)
        if units > max(pieces, 2) or from_network(net, exact=True).max_difference(f) != 0:
            return Finding.true_if(False, f"another function at p = {pieces}")
    return Finding.true_if(
        True, "no difference, in fractions", tries=len(PIECES), most_pieces=PIECES[-1], least_pieces=PIECES[0]
    )


def within_p_units(f: PiecewiseLinear) -> nn.Sequential:
    """The builder's network cut to p units: right from p = 2 on, and one unit short for a line with a slope."""
    net = to_network(f)
    hidden, output = net[0], net[2]
    assert isinstance(hidden, nn.Linear)
    assert isinstance(output, nn.Linear)
    kept = min(f.num_pieces, hidden.out_features)
    small = nn.Linear(1, kept, dtype=torch.float64), nn.Linear(kept, 1, dtype=torch.float64)
    with torch.no_grad():
        small[0].weight.copy_(hidden.weight[:kept])
        small[0].bias.copy_(hidden.bias[:kept])
        small[1].weight.copy_(output.weight[:, :kept])
        small[1].bias.copy_(output.bias)
    return nn.Sequential(small[0], nn.ReLU(), small[1])


def never_equals_x(units: int) -> Finding:
    """Can so many ReLU units not have slope 1 at both ends of the line, whatever their weights?

    A unit v relu(wx + b) has slope vw at one end, on the side of w's sign, and 0 at the other; for w = 0 both are 0.
    """
    slopes = sympy.symbols(f"s:{units}")
    reached = [
        sides
        for sides in itertools.product((-1, 0, 1), repeat=units)
        if sympy.linsolve(
            [sum(s for s, side in zip(slopes, sides, strict=True) if side == end) - 1 for end in (-1, 1)],
            *slopes,
        )
    ]
    detail = f"slope 1 at both ends in {len(reached)} of {3**units} cases of signs"
    return Finding.true_if(not reached, detail, cases=3**units)


# What is shown


def shown() -> nn.Sequential:
    """Two hidden layers of pReLU: the network of the figure and of the table."""
    return network((1, 4, 3, 1), SLOPE, 2)


def tables(observations: Observations, words: WordList) -> list[Table]:
    """The pieces of one network in fractions; pieces against depth."""
    rows = from_network(shown(), exact=True).table()
    pieces = Table(
        words("titles.prelu-network-with-two-hidden", slope=SLOPE),
        (
            words["heads.from-x"],
            words["heads.x"],
            words["heads.slope"],
            words["heads.intercept"],
        ),
        [[*map(_written, row)] for row in rows.itertuples(index=False)],
    )
    counts = Table(
        words["titles.folding-layers"],
        (
            words["heads.hidden-layers"],
            words["heads.units"],
            words["heads.pieces"],
            words["heads.bound"],
        ),
        [
            [str(d), str(WIDTH * d), str(pieces_of_sawtooth(d)), str(product_bound((WIDTH,) * d))]
            for d in DEPTHS
        ],
    )
    return [pieces, counts]


def _written(value: Any) -> str:
    if isinstance(value, float):
        return str(value).replace("inf", "∞").replace("-", "−")
    return str(value).replace("-", "−")


def product_bound(sizes: Sequence[int]) -> int:
    """Each layer of w units makes of one piece at most w + 1."""
    return math.prod(size + 1 for size in sizes)


def count_bound(sizes: Sequence[int]) -> int:
    """One breakpoint a unit: right for one hidden layer only."""
    return 1 + sum(sizes)


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """The pieces of the deepest folding network; and no difference between gradients of one pattern."""
    pieces = float(pieces_of_sawtooth(DEPTHS[-1]))
    return {"num_pieces": (pieces, pieces), "spread": (0.0, 1e-12)}


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """A network with its breakpoints; a given function and the network that was built for it; pieces against depth."""
    alt = import_extra("altair", what="A figure", extra="book")
    own = from_network(shown(), exact=True)
    target = random_function(9, 5)
    built = from_network(to_network(target), exact=True)
    left = _function_panel(
        alt,
        own,
        words("labels.prelu-network-pieces", own=own.num_pieces),
        words,
    )
    units = widths(to_network(target))[0]
    middle = _function_panel(
        alt,
        built,
        words("labels.built-for-given-pieces-units", target=target.num_pieces, units=units),
        words,
    )
    return (left | middle | _depth_panel(alt, words)).resolve_scale(
        color="independent", strokeDash="independent"
    )


def _function_panel(alt: Any, f: PiecewiseLinear, title: str, words: WordList) -> Any:
    knots = f.breakpoints
    reach = max((knots[-1] - knots[0]) / 6, Fraction(1, 2))
    x = np.array([knots[0] - reach, *knots, knots[-1] + reach], dtype=object)
    rows = pd.DataFrame({"x": x.astype(float), "y": f(x)[:, 0].astype(float)})
    rows["is_break"] = [False, *[True] * len(knots), False]
    base = alt.Chart(rows, title=title, width=220, height=230).encode(
        x=alt.X("x:Q", title=words["titles.input-x"], scale=alt.Scale(nice=False)),
        y=alt.Y("y:Q", title=words["titles.output"], scale=alt.Scale(zero=False)),
    )
    marks = base.mark_point(filled=True, size=45, color=plots.PALETTE[1], opacity=1)
    return base.mark_line(strokeWidth=2, color=plots.PALETTE[0]) + marks.transform_filter("datum.is_break")


def _depth_panel(alt: Any, words: WordList) -> Any:
    kinds = {
        words["labels.layers-fold"]: pieces_of_sawtooth,
        words["labels.bound"]: lambda d: product_bound((WIDTH,) * d),
        words["labels.one-layer-as-many-units"]: lambda d: 1 + WIDTH * d,
    }
    rows = [{"depth": d, "pieces": count(d), "kind": kind} for kind, count in kinds.items() for d in DEPTHS]
    names = list(kinds)
    title = words["labels.depth-multiplies"]
    legend = alt.Legend(title=None, orient="bottom", columns=1, symbolType="stroke")
    return (
        alt.Chart(
            pd.DataFrame(rows), width=220, height=230, title=title
        )
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=alt.X("depth:O", title=words["titles.hidden-layers-2-units"],
                    axis=alt.Axis(labelAngle=0)),
            y=alt.Y("pieces:Q", title=words["titles.pieces"], scale=alt.Scale(type="log", base=2)),
            color=alt.Color("kind:N", sort=names, legend=legend,
                            scale=plots.colour_scale(alt, names)),
            strokeDash=alt.StrokeDash("kind:N", sort=names, legend=legend,
                                      scale=plots.dash_scale(alt, names)),
        )
    )  # fmt: skip


ANSWER = Answer(
    claims=(
        Claim(
            name="prelu-is-of-the-kind",
            kind="proof",
            check=is_continuous_and_linear_beside_0,
            subject=lambda o: prelu,
            falsehood=lambda o: step,
        ),
        Claim(
            name="sums-stay-in-the-class",
            kind="property",
            check=sum_bends_only_at,
            subject=lambda o: union,
            falsehood=lambda o: lambda f, g: list(f.breakpoints),
        ),
        Claim(
            name="compositions-stay-in-the-class",
            kind="property",
            check=composition_bends_only_at,
            subject=lambda o: pulled_back,
            falsehood=lambda o: union,
        ),
        Claim(
            name="networks-are-straight-between-breakpoints",
            kind="property",
            check=is_straight_between,
            subject=lambda o: lambda f: list(f.breakpoints),
            falsehood=lambda o: lambda f: list(f.breakpoints[:-1]),  # one is left out
        ),
        Claim(
            name="pieces-are-bounded",
            kind="property",
            check=pieces_stay_below,
            subject=lambda o: product_bound,
            falsehood=lambda o: count_bound,
        ),
        Claim(
            name="depth-folds",
            kind="calculation",
            check=folds_into,
            subject=lambda o: lambda depth: WIDTH**depth,
            falsehood=lambda o: lambda depth: WIDTH * depth,
        ),
        Claim(
            name="any-p-pieces-from-p-units",
            kind="property",
            check=is_built_with,
            subject=lambda o: to_network,
            falsehood=lambda o: within_p_units,
        ),
        Claim(
            name="one-unit-is-never-x",
            kind="proof",
            check=never_equals_x,
            subject=lambda o: 1,
            falsehood=lambda o: 2,
        ),
    ),
    circulated=(
        Circulated("relu-networks-can-equal-any", "misread"),
        Circulated("any-continuous-function-on-bounded", "misread"),
        Circulated("lipschitz-functions-are-approximated", "misread", source="datawhale"),
        Circulated(
            "composed-of-pieces",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="compositions-stay-in-the-class",
            source="pandalabme",
        ),
    ),
    tables=tables,
    figure=figure,
    expected=expected,
)
