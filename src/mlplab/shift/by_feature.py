"""A test for each feature, with Holm over all of them: which columns have another distribution now."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from mlplab import stats
from mlplab.rng import Stream
from mlplab.shift import distances, result
from mlplab.shift.detector import Detector
from mlplab.shift.result import Distribution, Driver, Power, ShiftResult
from mlplab.shift.tables import Pair

if TYPE_CHECKING:
    from jaxtyping import Float

FEW_VALUES = 10  # a number with no more different values is compared as a category: KS has little power there
SMALL = 5  # expected counts below it: the χ² law is no longer good, and tables are drawn
FISHER_ROWS = 10_000  # beyond them Fisher's test takes long, and Yates' correction says the same
DRAWN_TABLES = 9_999
EXACT_PAIRS = 1_000_000  # up to this product of sizes the law of KS is counted, not approximated


class FeatureDetector(Detector):
    """KS for each number, χ² for each category, Fisher's test for two and for missing shares; Holm over all.

    The p-value is the smallest one after Holm: a shift is found where any feature has shifted. It sees one column at a
    time, and so no shift in how columns hang together.

    A number with up to 10 different values is compared by χ². Where counts of fewer than 5 are expected, 9,999 tables
    with the same margins are drawn in place of the χ² law. Two categories alone, and shares of missing values, are
    compared by Fisher's exact test (beyond 10,000 rows by χ² with Yates' correction): their χ² takes few values, and
    gives up to 5.7 false alarms in a hundred at a level of 5. KS is exact up to a product of sizes of a million.

    Arguments:
      alpha: chance of a false alarm over all features together.
      num_drivers: how many features the result names, the most shifted first.
      seed: of the tables that are drawn.

    Sources: Rabanser, Günnemann and Lipton 2019, Failing loudly; Holm 1979.
    Attributes after `fit`: `reference_`, `n_features_in_`, `feature_names_in_`.
    """

    def __init__(self, *, alpha: float = 0.05, num_drivers: int = 10, seed: int = 0) -> None:
        self.alpha = alpha
        self.num_drivers = num_drivers
        self.seed = seed

    def _compare(self, both: Pair) -> ShiftResult:
        rng = np.random.Generator(np.random.Philox(key=self.seed))
        tests = [*_number_tests(both, rng), *_category_tests(both, rng)]
        adjusted = stats.holm([test.p_value or 0.0 for test in tests])
        order = sorted(range(len(tests)), key=lambda i: (tests[i].p_value, -tests[i].score))
        drivers = [replace(tests[i], p_value=float(adjusted[i])) for i in order]
        first = drivers[0]
        drawn = _picture(both, first)
        return ShiftResult(
            detector="features",
            method=f"{len(tests)} test{'s' * (len(tests) > 1)} of single features, Holm over all",
            statistic_name=f"largest shift ({first.name}: {first.note})",
            statistic=first.score,
            p_value=first.p_value or 0.0,
            alpha=self.alpha,
            num_reference=both.num_reference,
            num_current=both.num_current,
            driver_measure="KS distance, total variation or difference of shares: 0 the same, 1 apart",
            drivers=tuple(drivers[: self.num_drivers]),
            power=_power(both, self.alpha / len(tests)),
            distribution=drawn,
        )


def ks_p_values(
    distance: Float[np.ndarray, "column"], numbers: Float[np.ndarray, "row column"], is_current: np.ndarray
) -> Float[np.ndarray, "column"]:
    """Two-sided p-values of KS distances: exact as `scipy.stats.ks_2samp` gives them, or Smirnov's limit for more rows.

    For samples of one size n the exact law is 2 Σ_j (-1)^(j-1) C(2n, n - jh) / C(2n, n) at distance h/n (Gnedenko and
    Korolyuk 1951): that is for all columns at once.
    """
    num_current = int(is_current.sum())
    num_reference = len(is_current) - num_current
    if num_reference * num_current > EXACT_PAIRS:
        effective = round(num_reference * num_current / (num_reference + num_current))
        return scipy_stats.kstwo.sf(distance, effective)
    if num_reference != num_current:
        exact: dict[int, float] = {}
        found = np.empty(len(distance))
        for column, key in enumerate(np.rint(distance * num_reference * num_current).astype(int)):
            if key not in exact:
                sides = (numbers[side, column] for side in (~is_current, is_current))
                exact[key] = float(np.asarray(scipy_stats.ks_2samp(*sides, method="exact"))[1])
            found[column] = exact[key]
        return found
    n, steps = num_reference, np.rint(distance * num_reference).astype(int)
    table = np.ones(n + 1)
    for h in np.unique(steps[steps > 0]):
        jumps = np.arange(1, n // h + 1)
        terms = (
            2 * special.gammaln(n + 1)
            - special.gammaln(n - jumps * h + 1)
            - special.gammaln(n + jumps * h + 1)
        )
        table[h] = min(1.0, 2 * float(np.sum(np.where(jumps % 2, 1.0, -1.0) * np.exp(terms))))
    return table[steps]


def table_p_value(counts: np.ndarray, rng: np.random.Generator, enough: float = 1.0) -> float:
    """The p-value of a (2, level) table of counts under independence.

    Two by two, Fisher's exact test, or beyond 10,000 rows χ² with Yates' correction. Else χ² where every expected
    count is at least 5, or tables drawn with the same margins: until the p-value is sure to be above `enough`, and is
    then too low.
    """
    rows, columns = counts.sum(axis=1), counts.sum(axis=0)
    if counts.shape[1] < 2:
        return 1.0
    expected = rows[:, None] * columns / rows.sum()
    is_small = expected.min() < SMALL
    if counts.shape == (2, 2):
        if is_small or rows.sum() <= FISHER_ROWS:
            return float(np.asarray(scipy_stats.fisher_exact(counts))[1])
        gaps = np.maximum(np.abs(counts - expected) - 0.5, 0)
        return float(scipy_stats.chi2.sf((gaps**2 / expected).sum(), 1))
    if not is_small:
        return float(scipy_stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.shape[1] - 1))
    observed = ((counts - expected) ** 2 / expected).sum()
    extreme, step = 0, max(1, min(1_000, 1_000_000 // counts.size))
    law = scipy_stats.random_table(rows, columns)
    for start in range(0, DRAWN_TABLES, step):
        drawn = law.rvs(
            min(step, DRAWN_TABLES - start),
            method="patefield" if rows.sum() > 500 else None,
            random_state=rng,
        )
        # Tables that tie with what was observed are as extreme, even where rounding tells them apart.
        extreme += int(
            (((drawn - expected) ** 2 / expected).sum(axis=(1, 2)) >= observed * (1 - 1e-12)).sum()
        )
        if 1 + extreme > enough * (1 + DRAWN_TABLES):
            break
    return (1 + extreme) / (1 + DRAWN_TABLES)


def _number_tests(both: Pair, rng: np.random.Generator) -> list[Driver]:
    found: dict[int, Driver] = {}
    gaps: list[Driver] = []
    whole = np.flatnonzero(~both.has_missing)
    groups = [(whole, np.arange(both.num_rows))] if len(whole) else []
    for column in np.flatnonzero(both.has_missing):
        missing = np.isnan(both.numbers[:, column])
        counts = distances.table_of(missing.astype(int), both.is_current, 2)
        shares = counts[:, -1] / counts.sum(axis=1)
        note = f"missing {shares[0]:.1%} → {shares[1]:.1%}"
        gaps.append(
            Driver(
                both.number_names[column], float(abs(shares[1] - shares[0])), table_p_value(counts, rng), note
            )
        )
        rows = np.flatnonzero(~missing)
        if 0 < both.is_current[rows].sum() < len(rows):
            groups.append((np.asarray([column]), rows))
    for columns, rows in groups:
        values, side = (
            both.numbers[np.ix_(rows, columns)] if len(rows) < both.num_rows else both.numbers[:, columns],
            both.is_current[rows],
        )
        distance, distinct = distances.kolmogorov_smirnov(values, side)
        many = distinct > FEW_VALUES
        if many.any():
            p = ks_p_values(distance[many], values[:, many], side)
            medians = [np.median(values[:, many][half], axis=0) for half in (~side, side)]
            for place, column in enumerate(columns[many]):
                was, now = (_told(both, column, median[place]) for median in medians)
                note = f"KS, median {was} → {now}"
                score = float(distance[many][place])
                found[column] = Driver(both.number_names[column], score, float(p[place]), note)
        for place in np.flatnonzero(~many):
            levels, codes = np.unique(values[:, place], return_inverse=True)
            names = [_told(both, columns[place], level) for level in levels]
            found[columns[place]] = _category_test(both.number_names[columns[place]], codes, side, names, rng)
    return [*(found[column] for column in sorted(found)), *gaps]


def _category_tests(both: Pair, rng: np.random.Generator) -> list[Driver]:
    return [
        _category_test(name, both.codes[:, place], both.is_current, both.levels[place], rng)
        for place, name in enumerate(both.code_names)
    ]


def _category_test(
    name: str,
    codes: np.ndarray,
    side: np.ndarray,
    levels: tuple[str, ...] | list[str],
    rng: np.random.Generator,
) -> Driver:
    counts = distances.table_of(codes, side, len(levels))
    shares = counts / counts.sum(axis=1, keepdims=True)
    present = [(*levels, "missing")[code] for code in np.unique(np.where(codes < 0, len(levels), codes))]
    most = int(np.argmax(np.abs(shares[1] - shares[0])))
    note = f"share of {present[most]!r} {shares[0, most]:.1%} → {shares[1, most]:.1%}"
    return Driver(name, 0.5 * float(np.abs(shares[1] - shares[0]).sum()), table_p_value(counts, rng), note)


def _told(both: Pair, column: int, value: float) -> str:
    """A number of a column, in words."""
    if both.number_names[column] in both.dates:
        return str(np.datetime64(math.floor(value), "D"))
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def _picture(both: Pair, first: Driver) -> Distribution:
    name = first.name
    title = f"{name}, the most shifted" if len(both.names) > 1 else name
    if name in both.code_names:
        place = both.code_names.index(name)
        labels = (*both.levels[place], "missing")
        codes = both.codes[:, place]
        counts = distances.table_of(codes, both.is_current, len(labels) - 1)
        present = [labels[code] for code in np.unique(np.where(codes < 0, len(labels) - 1, codes))]
        return result.bars(title, name, present, counts)
    values = both.numbers[:, both.number_names.index(name)]
    there = ~np.isnan(values)
    if first.note.startswith("missing"):
        counts = distances.table_of((~there).astype(int), both.is_current, 2)
        return result.bars(title, name, ["known", "missing"], counts)
    if name in both.dates:
        return result.histogram(
            title, f"{name}, days since 1970-01-01", values[there], both.is_current[there]
        )
    return result.histogram(title, name, values[there], both.is_current[there])


def _power(both: Pair, level: float) -> Power:
    """Of one feature at the level that Holm's first step sets.

    A number's normal mean moves by δ standard deviations: the distance of the empirical distribution functions is then
    the supremum of that shift and a Brownian bridge, which 1,000 drawn paths give. Without numbers: a χ² test of two
    categories of equal share.
    """
    n, m = both.num_reference, both.num_current
    if both.numbers.shape[1]:
        sizes, noise = np.linspace(0, 2, 26), np.sqrt(1 / n + 1 / m)
        critical = float(scipy_stats.kstwo.isf(level, max(2, round(n * m / (n + m))))) / noise
        bridges, places = _bridges()
        probability = np.empty(len(sizes))
        for place, size in enumerate(sizes):
            gap = special.ndtr(places + size / 2) - special.ndtr(places - size / 2)
            probability[place] = (
                np.abs(bridges + (gap / noise).astype(np.float32)).max(axis=1) > critical
            ).mean()
        return result.power_curve("shift of a feature's mean in its standard deviations", sizes, probability)
    sizes = np.linspace(0, 0.5, 101)
    shift = sizes**2 * 4 * n * m / (n + m)
    critical = scipy_stats.chi2.isf(level, 1)
    probability = scipy_stats.ncx2.sf(critical, 1, np.maximum(shift, 1e-9))
    return result.power_curve("change of the share of one of two equal categories", sizes, probability)


@cache
def _bridges() -> tuple[np.ndarray, np.ndarray]:
    """Brownian bridges (path, place) at places that a standard normal number is equally often between."""
    paths, places = 1_000, 200
    walk = Stream(0, "noise").normal((paths, places)).cumsum(axis=1) / np.sqrt(places)
    share = np.arange(1, places + 1) / places
    bridges = (walk - share * walk[:, -1:])[:, :-1]
    return bridges.astype(np.float32), special.ndtri(share[:-1])
