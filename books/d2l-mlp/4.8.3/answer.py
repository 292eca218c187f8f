"""4.8.3 Which bounds are there on the eigenvalues of a product of two matrices, and what do they say of gradients?

Bounds are proved in symbols where they can be, tried on random and on adversarial matrices, and held against what
products of many random matrices do: a network's Jacobian is such a product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sympy
import torch

from mlplab.analysis.mean_field import gradient_gain
from mlplab.analysis.spectrum import gaussian_edge, product_bounds
from mlplab.answers import Answer, Circulated, Claim, Finding, Lab, Observations, Table, WordList
from mlplab.answers.checks import equivalent
from mlplab.charts import plots, show
from mlplab.errors import import_extra
from mlplab.rng import Stream
from mlplab.stats import mean_interval, prediction_interval

if TYPE_CHECKING:
    import altair

Rule = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

DEPTHS = (1, 2, 3, 5, 8, 12, 20, 32)
COMPARED_AT = 5  # factors, where claims are decided
MARGIN = 0.05  # of a ratio to theory
KINDS = ("gaussian", "orthogonal", "relu_gaussian", "relu_orthogonal")
PAIRS = 300
SLACK = 1e-9  # matrices are scaled to σ₁ = 1: rounding is far below


def observe(lab: Lab) -> Observations:
    """Singular values of products of random matrices, and of ReLU networks' Jacobians, against depth."""
    size, seeds = lab.choose(quick=128, full=256), lab.seeds(quick=6, full=20)
    rows = [row for kind in KINDS for seed in seeds for row in depth_rows(kind, size, seed)]
    widths = lab.choose(quick=(128, 256, 512), full=(128, 256, 512, 1024))
    edges = [{"seed": seed, "size": n, "largest": largest_of(n, seed)} for seed in seeds for n in widths]
    tables = {"runs": rows, "edges": edges, "design": [{"size": size}]}
    return lab.observations(**{name: pd.DataFrame(held) for name, held in tables.items()})


def depth_rows(kind: str, size: int, seed: int) -> list[dict[str, Any]]:
    """For each depth: the largest squared singular value, their mean, and the share of directions that they carry."""
    jacobian, h, rows = np.eye(size), Stream(seed, "data").normal(size), []
    for layer in range(max(DEPTHS)):
        w = Stream(seed, "init", layer=layer).normal((size, size)) / np.sqrt(size)
        if "orthogonal" in kind:
            q, r = np.linalg.qr(w)
            w = q * np.sign(np.diag(r))  # else not uniformly distributed
        if "relu" in kind:
            z = np.sqrt(2) * w @ h
            h = np.maximum(z, 0)
            w = np.sqrt(2) * w * (z > 0)[:, None]
        jacobian = w @ jacobian
        if layer + 1 in DEPTHS:
            squares = np.linalg.svd(jacobian, compute_uv=False) ** 2
            share = squares.sum() ** 2 / (squares @ squares) / size
            row = {"arm": f"{kind} depth={layer + 1}", "seed": seed, "status": "finished"}
            figures = {"largest": squares[0], "mean_square": squares.mean(), "share": share}
            rows.append(row | {name: float(f"{value:.6g}") for name, value in figures.items()})
    return rows


def largest_of(size: int, seed: int) -> float:
    """The largest squared singular value of COMPARED_AT Gaussian factors of this size."""
    product = np.eye(size)
    for layer in range(COMPARED_AT):
        product = Stream(seed, "init", layer=layer, step=size).normal((size, size)) @ product / np.sqrt(size)
    return float(f"{np.linalg.norm(product, 2) ** 2:.6g}")


def theory(kind: str, depth: int) -> float:
    """The share of directions (Σσ²)²/(nΣσ⁴) of a wide network: 1 over one plus the variance of the σ², mean 1."""
    per_layer = {"gaussian": 1, "orthogonal": 0, "relu_gaussian": 2, "relu_orthogonal": 1}[kind]
    return 1 / (1 + per_layer * depth)


# Matrices on which bounds are tried


def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Square A and B of 2 to 6 rows with largest singular value 1: random ones, and those that bounds are cut for."""
    for number in range(PAIRS):
        n = 2 + number % 5
        stream = Stream(number, "data")
        a, b = stream.normal((n, n)), stream.normal((n, n))
        kind = number // 5 % 6
        if kind == 1:  # graded: singular values over many powers of ten
            a, b = a * 10.0 ** -np.arange(n), b * 10.0 ** -np.arange(n)[:, None]
        elif kind == 2:  # nilpotent, and its transpose: spectral radius 0, product far from it
            a = np.triu(a, 1)
            b = a.T
        elif kind == 3:  # far from normal: equal eigenvalues, large condition number
            a = np.eye(n) + np.triu(3 * a, 1)
            b = np.eye(n) + np.tril(3 * b, -1)
        elif kind == 4:  # aligned: A's input directions are B's output directions
            u, s, vt = np.linalg.svd(a)
            a, b = u @ np.diag(s) @ vt, vt.T @ np.diag(np.linalg.svd(b, compute_uv=False)) @ u.T
        elif kind == 5:  # singular
            a = a[:, :1] @ b[:1]
        yield a / np.linalg.norm(a, 2), b / np.linalg.norm(b, 2)


def singular_values(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


def sizes(matrix: np.ndarray) -> np.ndarray:
    """|λ|, descending."""
    return np.sort(np.abs(np.linalg.eigvals(matrix)))[::-1]


def never_exceeds(rule: Rule) -> Finding:
    """Over all pairs: is the first thing never above the second? `tightest`: the largest ratio; 1 is attained."""
    wrong, tightest = 0, 0.0
    for a, b in pairs():
        low, high = rule(a, b)
        wrong += bool((low > high * (1 + SLACK) + SLACK).any())
        told = high > 1e-6  # a ratio of rounding errors says nothing
        tightest = max(tightest, float((low[told] / high[told]).max(initial=0)))
    detail = f"{wrong} of {PAIRS} pairs exceed it"
    return Finding.true_if(wrong == 0, detail, tries=PAIRS, wrong=wrong, tightest=tightest)


def eigenvalue_rule(size_of_a: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """|λ(AB)| beside this size of A times the largest singular value of B."""
    return lambda a, b: (sizes(a @ b)[:1], size_of_a(a)[:1] * singular_values(b)[:1])


def horn_products(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products of the k largest singular values: of AB, and of A and B."""
    return np.cumprod(singular_values(a @ b)), np.cumprod(singular_values(a) * singular_values(b))


def horn_one_by_one(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k-th singular value: of AB, and of A times that of B."""
    return singular_values(a @ b), singular_values(a) * singular_values(b)


def weyl_products(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Products of the k largest: eigenvalues of AB in size, singular values of AB."""
    return np.cumprod(sizes(a @ b)), np.cumprod(singular_values(a @ b))


def weyl_one_by_one(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k-th eigenvalue of AB in size, beside its k-th singular value."""
    return sizes(a @ b), singular_values(a @ b)


def condition_rule(spectrum: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """Condition number of AB beside those of A and B, as reciprocals: κ = ∞ is 0."""

    def reciprocal(matrix: np.ndarray) -> np.ndarray:
        found = spectrum(matrix)
        return found[-1:] / max(found[0], 1e-300)  # all eigenvalues of a nilpotent matrix are 0

    return lambda a, b: (reciprocal(a) * reciprocal(b), reciprocal(a @ b))


def congruence_stays_within(spectrum: Callable[[np.ndarray], np.ndarray]) -> Finding:
    """λ_k(SHSᵀ)/λ_k(H) for symmetric H: does it lie between the squares of the least and the largest of S?"""
    wrong, tries = 0, 0
    for number, (s, other) in enumerate(pairs()):
        if number // 5 % 6 in (2, 5):
            continue  # S must not be singular
        h = other + other.T
        ratios = np.linalg.eigvalsh(s @ h @ s.T) / np.linalg.eigvalsh(h)
        ends = spectrum(s)
        low, high = ends[-1] ** 2, ends[0] ** 2
        wrong += not bool((ratios >= low * (1 - 1e-6) - SLACK).all() and (ratios <= high * (1 + 1e-6)).all())
        tries += 1
    return Finding.true_if(wrong == 0, f"{wrong} of {tries} lie outside", tries=tries)


# Proofs


def is_largest_stretch(place: int) -> Finding:
    """Is |Av|² at most σ² |v|² for all v, with σ this one of three singular values?

    In the basis of right singular vectors |Av|² = Σσ²c². The squares in descending order are sums of gaps ≥ 0: the
    difference is never negative if no coefficient of it, as a polynomial in gaps and squares, is.
    """
    gaps, squares = sympy.symbols("g:3", nonnegative=True), sympy.symbols("c:3", nonnegative=True)
    sigma = [gaps[0] + gaps[1] + gaps[2], gaps[1] + gaps[2], gaps[2]]
    difference = sympy.expand(
        sigma[place] * sum(squares) - sum(s * c for s, c in zip(sigma, squares, strict=True))
    )
    coefficients = sympy.Poly(difference, *gaps, *squares).coeffs()
    return Finding.true_if(all(c >= 0 for c in coefficients), f"difference {difference}")


def compounds_multiply(minor: Callable[[sympy.MatrixBase], Any]) -> Finding:
    """A and B of 3 x 3 symbols: is the matrix of all 2 x 2 minors of AB the product of those of A and B?"""
    a, b = (sympy.Matrix(3, 3, sympy.symbols(f"{name}:9")) for name in "ab")
    chosen = list(itertools.combinations(range(3), 2))

    def compound(matrix: sympy.MatrixBase) -> sympy.MatrixBase:
        return sympy.Matrix([[minor(matrix.extract(list(i), list(j))) for j in chosen] for i in chosen])

    gap = (compound(a * b) - compound(a) * compound(b)).expand()
    return Finding.true_if(bool(gap.is_zero_matrix), "no difference" if gap.is_zero_matrix else "they differ")


SHEAR = sympy.Matrix([[1, sympy.Rational(3, 2)], [0, 1]])


def spectral_radius(matrix: sympy.MatrixBase) -> Any:
    """The largest |λ|, exactly."""
    return max(abs(value) for value in matrix.eigenvals())


def radius_of_product_is_larger(pair: tuple[sympy.MatrixBase, sympy.MatrixBase]) -> Finding:
    """Is ρ(AB) > ρ(A) ρ(B)? In exact rationals."""
    a, b = pair
    product, apart = spectral_radius(a * b), spectral_radius(a) * spectral_radius(b)
    return Finding.true_if(
        bool(product > apart),
        f"ρ(AB) = {product}, ρ(A)ρ(B) = {apart}",
        product=float(product),
        apart=float(apart),
    )


def conditioning_is_hidden(matrix: sympy.MatrixBase) -> Finding:
    """Are all eigenvalues of this matrix 1 and its condition number not? In exact rationals."""
    squares = list((matrix.T * matrix).eigenvals())
    condition = sympy.sqrt(max(squares) / min(squares))
    truth = set(matrix.eigenvals()) == {1} and condition != 1
    return Finding.true_if(truth, f"condition number {condition}", condition=float(condition))


Ends = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def crossed_ends(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """From ascending eigenvalues of both signs: the least and the largest that a product of one of each can be."""
    return min(a[0] * b[-1], a[-1] * b[0]), max(a[0] * b[0], a[-1] * b[-1])


def like_ends(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """As if all eigenvalues were positive."""
    return a[0] * b[0], a[-1] * b[-1]


def bound_commuting_pairs(ends: Ends) -> Finding:
    """Symmetric indefinite pairs with the same eigenvectors: do the eigenvalues of AB lie between these ends?"""
    wrong = 0
    for number in range(PAIRS):
        n, stream = 2 + number % 5, Stream(number, "data")
        q = np.linalg.qr(stream.normal((n, n)))[0]
        a, b = np.sort(stream.normal((2, n)))
        for values_of in (a, b):
            values_of[[0, -1]] = -abs(values_of[0]), abs(values_of[-1])
            values_of.sort()
        product = (q * a) @ q.T @ (q * b[stream.permutation(n)]) @ q.T
        found, (low, high) = np.linalg.eigvals(product).real, ends(a, b)
        wrong += bool(found.min() < low - SLACK or found.max() > high + SLACK)
    return Finding.true_if(wrong == 0, f"{wrong} of {PAIRS} lie outside", tries=PAIRS, wrong=wrong)


# Products of many


def stays_at_one(gain: float) -> Finding:
    """Products of up to 32 random orthogonal matrices times this gain: are all singular values 1?"""
    worst, product = 0.0, np.eye(40)
    for layer in range(max(DEPTHS)):
        product = gain * np.linalg.qr(Stream(0, "init", layer=layer).normal((40, 40)))[0] @ product
        worst = max(worst, float(np.abs(singular_values(product) - 1).max()))
    return Finding.true_if(worst < 1e-12, worst_error=worst, depth=max(DEPTHS))


def values(observations: Observations, metric: str, kind: str, depth: int) -> np.ndarray:
    """A metric of each seed."""
    return observations.runs.values(metric, f"{kind} depth={depth}")


def at_infinite_width(observations: Observations, edge: float) -> np.ndarray:
    """The largest squared singular value over this, extrapolated to infinite width, for each seed.

    At the edge of a spectrum the law is approached as n^(-2/3): a line in that, fitted to a seed's widths, where n is
    infinite.
    """
    wide = observations["edges"].pivot(index="size", columns="seed", values="largest")
    slope_and_end = np.polyfit(wide.index.to_numpy(dtype=float) ** (-2 / 3), wide.to_numpy(dtype=float), 1)
    return slope_and_end[1] / edge


def share_over(observations: Observations, kind: str, share: float) -> np.ndarray:
    """The share of directions over this."""
    return values(observations, "share", kind, COMPARED_AT) / share


# What is shown


def facts(observations: Observations) -> dict[str, Any]:
    """What sentences quote."""
    relu: Any = torch.relu
    return {
        "depth": COMPARED_AT,
        "edge": gaussian_edge(COMPARED_AT),
        "norm": gaussian_edge(1) ** 0.5,
        "norms": gaussian_edge(1) ** COMPARED_AT,
        "deepest": max(DEPTHS),
        "size": int(observations["design"]["size"].iloc[0]),
        "gain": gradient_gain(relu, 1.0, 2.0),
        "he_mean_square": mean_interval(values(observations, "mean_square", "relu_gaussian", COMPARED_AT)),
        "he_share_deepest": mean_interval(values(observations, "share", "relu_gaussian", max(DEPTHS))),
    }


def tables(observations: Observations, words: WordList) -> list[Table]:
    """Spectra against depth; and one product with all its bounds."""
    rows = []
    for kind, label in words.group("names").items():
        for depth in (1, COMPARED_AT, max(DEPTHS)):
            found = [
                show.number_interval(mean_interval(values(observations, metric, kind, depth)))
                for metric in ("largest", "mean_square", "share")
            ]
            rows.append([label, str(depth), *found, show.number(theory(kind, depth))])
    n = int(observations["design"]["size"].iloc[0])
    title = words("titles.singular-values-product-random-x", n=n, num_seeds=observations.num_seeds)
    heads = (
        words["heads.factors"],
        words["heads.depth"],
        words["heads.largest"],
        words["heads.mean"],
        words["heads.share-directions"],
        words["heads.share-theory"],
    )
    return [Table(title, heads, rows), _one_product(words)]


def _one_product(words: WordList) -> Table:
    """Two random matrices of four rows: each singular value and eigenvalue beside what bounds allow."""
    a, b = (Stream(0, "data", layer=layer).normal((4, 4)) for layer in (0, 1))
    found = product_bounds(a, b).table()
    rows = [
        [
            str(row["k"]),
            show.number(row["eigenvalue_size"]),
            show.number(row["singular_value"]),
            f"[{show.number(row['horn_low'])}, {show.number(row['horn_high'])}]",
            f"[{show.number(row['ostrowski_low'])}, {show.number(row['ostrowski_high'])}]",
        ]
        for row in found.to_dict("records")
    ]
    return Table(
        words["titles.product-two-random-4-x"],
        (
            words["heads.k"],
            words["heads.eigenvalues-of-a-product"],
            words["heads.singular-values-of-a-product"],
            words["heads.horn-allows"],
            words["heads.ostrowski-allows"],
        ),
        rows,
    )


def expected(observations: Observations) -> dict[str, tuple[float, float]]:
    """Of the shear, exactly; and the largest squared singular value of five factors, one draw of them."""
    shear = np.array(SHEAR.tolist(), dtype=float)
    product, condition = float(np.linalg.norm(shear, 2) ** 2), float(np.linalg.cond(shear))
    return {
        "product": (product, product),
        "condition": (condition, condition),
        "five_gaussian": prediction_interval(values(observations, "largest", "gaussian", COMPARED_AT)),
        "five_orthogonal": (1.0, 1.0),
    }


def figure(observations: Observations, words: WordList) -> altair.TopLevelMixin:
    """The largest squared singular value against depth, beside the share of directions; theory as lines."""
    alt = import_extra("altair", what="A figure", extra="book")
    note = words["labels.point-mean-with-95-t"].format(observations.num_seeds)  # fmt: skip
    panels = []
    for metric, title, axis in (
        ("largest", words["heads.longest-direction"], words["heads.largest"]),
        ("share", words["heads.directions-carry-anything"],
         words["heads.share-directions"]),
    ):  # fmt: skip
        points, lines = [], []
        for kind, label in words.group("names").items():
            for depth in DEPTHS:
                found = mean_interval(values(observations, metric, kind, depth))
                named = {"kind": label, "depth": depth}
                points.append(named | {"value": found.estimate, "low": found.ci_low, "high": found.ci_high})
                expected = theory(kind, depth) if metric == "share" else _edge(kind, depth)
                if expected is not None:
                    lines.append(named | {"value": expected})
        panels.append(_panel(alt, pd.DataFrame(points), pd.DataFrame(lines), title, axis, words, note))
    return alt.hconcat(*panels).resolve_scale(y="independent")


def _edge(kind: str, depth: int) -> float | None:
    return {"gaussian": gaussian_edge(depth), "orthogonal": 1.0}.get(kind)


def _panel(alt: Any, points: Any, lines: Any, title: str, axis: str, words: WordList, note: str) -> Any:
    names = list(words.group("names").values())
    colour = alt.Color(
        "kind:N", title=None, scale=plots.colour_scale(alt, names),
        legend=alt.Legend(orient="bottom", columns=2),
    )  # fmt: skip
    shape = alt.Shape("kind:N", title=None, scale=alt.Scale(domain=names))
    log = alt.Scale(type="log", nice=False, padding=12)
    x = alt.X("depth:Q", title=words["titles.number-factors"], scale=log)
    y = alt.Y("value:Q", title=axis, scale=log)
    heading = alt.TitleParams(title, subtitle=note, anchor="start", subtitleFontSize=11)
    base = alt.Chart(points, width=320, height=280, title=heading)
    return (
        alt.Chart(lines).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
        + base.mark_rule(strokeWidth=2).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
        + base.mark_point(filled=True, size=55, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    )


ANSWER = Answer(
    observe=observe,
    takes=("seeds",),
    claims=(
        Claim(
            name="largest-singular-value-bounds-the-stretch",
            kind="proof",
            check=is_largest_stretch,
            subject=lambda o: 0,
            falsehood=lambda o: 1,
        ),
        Claim(
            name="eigenvalues-below-product-of-norms",
            kind="property",
            check=never_exceeds,
            subject=lambda o: eigenvalue_rule(singular_values),
            falsehood=lambda o: eigenvalue_rule(sizes),  # A's own eigenvalues would be enough
        ),
        Claim(
            name="spectral-radius-is-not-submultiplicative",
            kind="proof",
            check=radius_of_product_is_larger,
            subject=lambda o: (SHEAR, SHEAR.T),
            falsehood=lambda o: (SHEAR, SHEAR),
        ),
        Claim(
            name="compounds-multiply",
            kind="proof",
            check=compounds_multiply,
            subject=lambda o: lambda m: m.det(),
            falsehood=lambda o: lambda m: m[0, 0] * m[1, 1] + m[0, 1] * m[1, 0],
        ),
        Claim(
            name="horn",
            kind="property",
            check=never_exceeds,
            subject=lambda o: horn_products,
            falsehood=lambda o: horn_one_by_one,
        ),
        Claim(
            name="weyl",
            kind="property",
            check=never_exceeds,
            subject=lambda o: weyl_products,
            falsehood=lambda o: weyl_one_by_one,
        ),
        Claim(
            name="ostrowski",
            kind="property",
            check=congruence_stays_within,
            subject=lambda o: singular_values,
            falsehood=lambda o: sizes,
        ),
        Claim(
            name="commuting-pairs-stay-between-products",
            kind="property",
            check=bound_commuting_pairs,
            subject=lambda o: crossed_ends,
            falsehood=lambda o: like_ends,
        ),
        Claim(
            name="condition-numbers-multiply",
            kind="property",
            check=never_exceeds,
            subject=lambda o: condition_rule(singular_values),
            falsehood=lambda o: condition_rule(sizes),
        ),
        Claim(
            name="eigenvalues-do-not-tell-conditioning",
            kind="proof",
            check=conditioning_is_hidden,
            subject=lambda o: SHEAR,
            falsehood=lambda o: sympy.eye(2),
        ),
        Claim(
            name="orthogonal-stays-at-1",
            kind="property",
            check=stays_at_one,
            subject=lambda o: 1.0,
            falsehood=lambda o: 1.0001,
        ),
        Claim(
            name="gaussian-edge",
            kind="experiment",
            figures={"compared_at": COMPARED_AT},
check=equivalent(1.0, margin=MARGIN, numbers={}),
            subject=lambda o: at_infinite_width(o, gaussian_edge(COMPARED_AT)),
            falsehood=lambda o: at_infinite_width(o, gaussian_edge(COMPARED_AT - 1)),
        ),
        Claim(
            name="he-jacobian-narrows",
            kind="experiment",
            figures={"compared_at": COMPARED_AT},
check=equivalent(1.0, margin=MARGIN, numbers={}),
            subject=lambda o: share_over(o, "relu_gaussian", theory("relu_gaussian", COMPARED_AT)),
            falsehood=lambda o: share_over(o, "relu_gaussian", theory("gaussian", COMPARED_AT)),
        ),
    ),
    circulated=(
        Circulated(
            "if-matrices-are-normed-upper",
            "incomplete",
        ),
        Circulated(
            "bounds-on-eigenvalues-tell-whether",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="eigenvalues-do-not-tell-conditioning",
        ),
        Circulated(
            "bound-for-commuting-matrices",
            {"holds": "incomplete", "fails": "wrong", "undecided": "unsupported"},
            by="commuting-pairs-stay-between-products",
            source="datawhale",
        ),
        Circulated(
            "eigenvalues-of-the-gradient-matrix",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="spectral-radius-is-not-submultiplicative",
            source="datawhale",
        ),
        Circulated(
            "norms-multiply",
            {"holds": "right", "fails": "wrong", "undecided": "unsupported"},
            by="horn",
            source="pandalabme",
        ),
        Circulated(
            "eigenvalues-of-weights-explode",
            {"holds": "wrong", "fails": "right", "undecided": "unsupported"},
            by="spectral-radius-is-not-submultiplicative",
            source="pandalabme",
        ),
        Circulated(
            "largest-times-largest",
            {"holds": "half-right", "fails": "right", "undecided": "unsupported"},
            by="spectral-radius-is-not-submultiplicative",
            source="forum",
        ),
        Circulated(
            "smallest-times-smallest",
            {"holds": "half-right", "fails": "unsupported", "undecided": "unsupported"},
            by="ostrowski",
            source="forum",
        ),
    ),
    expected=expected,
    tables=tables,
    figure=figure,
    facts=facts,
    vary="--seeds 20",
)  # fmt: skip
