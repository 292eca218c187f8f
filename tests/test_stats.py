"""Laws of mlplab.stats that need no long simulation. The calibration is in test_stats_calibration.py."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from mlplab import stats
from mlplab.errors import InvalidInput, UnknownName

CLAIMS = ("different", "greater", "less", "equivalent")


def random_differences(count: int, seed: int = 0):
    """Data sets of 2 to 12 differences; shift, margin and threshold such that every verdict occurs."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        values = draw.normal(draw.choice([-1.5, -0.3, 0, 0.3, 1.5]), 1, size=draw.integers(2, 13))
        yield values, {"threshold": draw.choice([0, 0.2]), "margin": draw.choice([0.4, 1, 2.5])}


# Known values and maintained implementations


def test_folds_of_one_table_widen_the_interval_by_the_published_factor():
    values = np.random.default_rng(3).normal(0.3, 1, size=20)
    plain, found = stats.mean_interval(values), stats.resampled_interval(values, test_train_ratio=0.25)
    width = np.sqrt(1 + 20 * 0.25)
    assert found.std_error == pytest.approx(plain.std_error * width)
    assert found.ci_high - found.estimate == pytest.approx(width * (plain.ci_high - plain.estimate))
    compared = stats.resampled(values, np.zeros(20), test_train_ratio=0.25)
    assert (compared.ci_low, compared.ci_high) == pytest.approx((found.ci_low, found.ci_high))


def test_no_number_of_folds_decides_what_one_table_leaves_open():
    values = np.random.default_rng(3).normal(0.3, 1, size=20)
    found = stats.resampled(values, test_train_ratio=0.25)
    assert (found.verdict, found.replicates_needed, found.reason) == ("undecided", None, "one-table")
    assert found.reason in stats.REASONS
    for ratio in (0, -1, math.inf, math.nan):
        with pytest.raises(InvalidInput, match="test_train_ratio must be positive"):
            stats.resampled(values, test_train_ratio=ratio)


def test_holm_gives_the_published_values():
    np.testing.assert_allclose(stats.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-12)


@pytest.mark.parametrize("tests", [1, 2, 7, 50])
def test_holm_agrees_with_statsmodels(tests):
    p = np.random.default_rng(tests).uniform(size=tests) ** 4
    np.testing.assert_allclose(stats.holm(p), multipletests(p, method="holm")[1], rtol=1e-12)


@pytest.mark.parametrize(("n", "floor"), [(5, 0.0625), (6, 0.03125), (10, 0.001953125)])
def test_least_sign_flip_p_is_two_in_two_to_the_n(n, floor):
    least = stats.sign_flip_test(np.linspace(1, 2, n))
    assert least.p == least.floor == floor
    assert ("cannot reach 0.05" in least.note(0.05)) == (n == 5)
    comparison = stats.paired(np.linspace(1, 2, n))
    assert comparison.p_sign_flip == comparison.sign_flip_floor == floor
    assert comparison.reason == ("sign-flip-floor" if n == 5 else None)


@pytest.mark.parametrize("values", ["distinct", "tied", "with zeros", "tied but for rounding"])
@pytest.mark.parametrize("n", [2, 7, 10])
def test_exact_sign_flip_test_agrees_with_scipy(n, values):
    draw = np.random.default_rng(n)
    d = draw.normal(0.4, 1, size=n)
    expected = d = {"distinct": d, "with zeros": np.where(d > 0.9, 0, d)}.get(values, np.sign(d) * 0.25)
    if values == "tied but for rounding":
        d = d * (1 + 2e-16 * draw.integers(-1, 2, size=n))
    everything = scipy_stats.permutation_test(
        (expected,), np.sum, permutation_type="samples", n_resamples=2000
    )
    assert stats.sign_flip_test(d).p == pytest.approx(everything.pvalue, rel=1e-12)


def test_drawn_sign_flips_agree_with_all_of_them(monkeypatch):
    d = np.random.default_rng(0).normal(0.5, 1, size=16)
    exact = stats.sign_flip_test(d).p
    monkeypatch.setattr(stats, "EXACT_SIGN_FLIPS", 8)
    drawn = stats.sign_flip_test(d)
    # Four standard errors of 9,999 draws.
    assert drawn.method == "monte carlo"
    assert abs(drawn.p - exact) < 4 * math.sqrt(exact * (1 - exact) / 9_999)
    assert stats.sign_flip_test(d, seed=1).p != drawn.p == stats.sign_flip_test(d[::-1]).p
    assert stats.sign_flip_test(np.ones(16) + d / 100).p == pytest.approx(1 / 10_000, abs=4e-4)
    assert stats.sign_flip_test(np.ones(40)).p == 1 / 10_000  # never 0, however extreme


@pytest.mark.parametrize("n", [2, 5, 40])
def test_paired_agrees_with_scipy_and_statsmodels(n):
    a, b = np.random.default_rng(n).normal(0.2, 1, size=(2, n))
    ours, test = stats.paired(a, b, margin=0.5, alpha=0.1), scipy_stats.ttest_rel(a, b)
    bounds = test.confidence_interval(0.9)
    assert ours.p == pytest.approx(test.pvalue, rel=1e-9)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)
    assert ours.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1), rel=1e-9)
    assert ours.equivalence.p == pytest.approx(ttost_paired(a, b, -0.5, 0.5)[0], rel=1e-9)
    assert stats.tost(a, b, margin=0.5, alpha=0.1) == ours.equivalence
    interval = stats.mean_interval(a - b, ci_prob=0.9)
    assert (interval.ci_low, interval.ci_high) == pytest.approx((ours.ci_low, ours.ci_high), rel=1e-9)
    assert (interval.std_error, interval.num_replicates) == (ours.std_error, n)


def test_two_sample_agrees_with_welch_in_scipy():
    draw = np.random.default_rng(3)
    a, b = draw.normal(0, 1, size=4), draw.normal(1, 5, size=9)
    ours, test = stats.two_sample(a, b), scipy_stats.ttest_ind(a, b, equal_var=False)
    bounds = test.confidence_interval(0.95)
    assert (ours.p, ours.num_replicates) == (pytest.approx(test.pvalue, rel=1e-9), 13)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)
    assert ours.effect == pytest.approx(ours.estimate / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2))


def test_slope_agrees_with_scipy():
    draw = np.random.default_rng(4)
    x = np.arange(8.0)
    y = 3 - 0.5 * x + draw.normal(size=8)
    ours, line = stats.slope(x, y), scipy_stats.linregress(x, y)
    assert (ours.estimate, ours.std_error, ours.p) == pytest.approx((line.slope, line.stderr, line.pvalue))
    half = scipy_stats.t.isf(0.025, 6) * line.stderr
    assert (ours.ci_low, ours.ci_high) == pytest.approx((line.slope - half, line.slope + half))


def test_slope_finds_the_square_root_law():
    draw = np.random.default_rng(5)
    n = np.repeat([100, 1_000, 10_000, 100_000], 5)
    error = n**-0.5 * np.exp(draw.normal(0, 0.1, size=n.size))
    law = {"claim": "equivalent", "margin": 0.05}
    assert stats.slope(np.log(n), np.log(error), threshold=-0.5, **law).verdict == "holds"
    assert stats.slope(np.log(n), np.log(error), threshold=-1.0, **law).verdict == "fails"


@pytest.mark.parametrize(("count", "total"), [(0, 5), (1, 5), (5, 5), (37, 200)])
def test_proportion_interval_agrees_with_statsmodels(count, total):
    ours = stats.proportion_interval(count, total, ci_prob=0.9)
    expected = proportion_confint(count, total, alpha=0.1, method="beta")
    # statsmodels gives an endpoint of 0 or 1 a tail too; no share lies beyond those, so nothing is lost.
    assert (ours.ci_low, ours.ci_high) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("interval", ["clopper-pearson", "wilson", "wald"])
def test_proportion_interval_covers_every_share(interval):
    shares, counts = np.linspace(0.001, 0.999, 500), np.arange(11)
    if interval != "clopper-pearson":
        low, high = proportion_confint(counts, 10, method={"wald": "normal"}.get(interval, interval))
    else:
        both = [stats.proportion_interval(int(k), 10) for k in counts]
        low, high = np.array([i.ci_low for i in both]), np.array([i.ci_high for i in both])
    covered = (low[:, None] <= shares) & (shares <= high[:, None])
    coverage = (scipy_stats.binom.pmf(counts[:, None], 10, shares) * covered).sum(0)
    assert (coverage.min() >= 0.95) == (interval == "clopper-pearson")


@pytest.mark.parametrize("effect", [0.05, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5])
def test_replicates_needed_is_the_least_number_by_statsmodels(effect):
    needed, power = stats.replicates_needed(effect, 1.0), TTestPower().power
    assert power(effect, needed - 1, 0.05) < 0.8 <= power(effect, needed, 0.05)


def test_a_slope_counts_the_two_degrees_of_freedom_it_spends():
    x = np.arange(5.0)
    for y in np.random.default_rng(6).normal(0.6 * x, 1, size=(20, 5)):
        line = stats.slope(x, y)
        if line.replicates_needed and line.replicates_needed < 50:
            powers = []
            for n in (line.replicates_needed - 1, line.replicates_needed):
                t, shift = scipy_stats.t.isf(0.025, n - 2), line.estimate / line.std_error * math.sqrt(n / 5)
                powers.append(scipy_stats.nct.sf(t, n - 2, shift) + scipy_stats.nct.cdf(-t, n - 2, shift))
            assert powers[0] < 0.8 <= powers[1]


# Laws


def test_the_order_of_seeds_changes_nothing():
    draw = np.random.default_rng(1)
    for n in (4, 11, 35):
        a, b = draw.normal(0.2, 1, size=(2, n))
        order = draw.permutation(n)
        one, other = stats.paired(a, b, margin=1), stats.paired(a[order], b[order], margin=1)
        parts = [one, one.equivalence, one.deciding], [other, other.equivalence, other.deciding]
        for before, after in ((vars(x), vars(y)) for x, y in zip(*parts, strict=True)):
            for name in before.keys() - {"equivalence", "deciding", "basis"}:
                same = pytest.approx(after[name], rel=1e-9) if isinstance(after[name], float) else after[name]
                assert before[name] == same, name


@pytest.mark.parametrize("scale", [1e-9, 3.0, 1e9])
def test_scaling_the_values_scales_the_interval_and_leaves_p(scale):
    for values, asked in random_differences(20):
        one = stats.paired(values, **asked)
        other = stats.paired(values * scale, **{name: value * scale for name, value in asked.items()})
        for name in ("estimate", "std_error", "ci_low", "ci_high"):
            assert getattr(other, name) == pytest.approx(scale * getattr(one, name), rel=1e-9)
        for name in ("verdict", "replicates_needed", "reason", "p_sign_flip"):
            assert getattr(other, name) == getattr(one, name)
        assert (other.p, other.effect) == pytest.approx((one.p, one.effect), rel=1e-9)
        assert other.equivalence.p == pytest.approx(one.equivalence.p, rel=1e-9)


def test_swapping_the_arms_swaps_greater_and_less():
    verdicts = set()
    for values, asked in random_differences(60):
        greater = stats.paired(values, claim="greater", **asked)
        less = stats.paired(-values, claim="less", threshold=-asked["threshold"], margin=asked["margin"])
        verdicts.add(greater.verdict)
        assert (greater.verdict, greater.replicates_needed) == (less.verdict, less.replicates_needed)
        assert (greater.ci_low, greater.p, greater.p_sign_flip) == (-less.ci_high, less.p, less.p_sign_flip)
    assert verdicts == {"holds", "fails", "undecided"}


def test_a_threshold_is_a_shift():
    for values, asked in random_differences(30):
        for claim in CLAIMS:
            at = stats.paired(values, claim=claim, **asked)
            moved = stats.paired(values - asked["threshold"], claim=claim, margin=asked["margin"])
            assert (at.verdict, at.replicates_needed) == (moved.verdict, moved.replicates_needed)
            assert (at.p, at.p_sign_flip) == pytest.approx((moved.p, moved.p_sign_flip), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_interval_and_p_never_contradict_each_other(alpha):
    seen = set()
    for values, asked in random_differences(100):
        result = stats.paired(values, alpha=alpha, **asked)
        excluded = not result.ci_low <= asked["threshold"] <= result.ci_high
        inside = (
            result.equivalence.ci_low > asked["threshold"] - asked["margin"]
            and result.equivalence.ci_high < asked["threshold"] + asked["margin"]
        )
        assert excluded == (result.p < alpha) == (result.verdict == "holds")
        assert inside == (result.equivalence.p < alpha) == result.equivalence.holds
        assert (result.ci_prob, result.equivalence.ci_prob) == pytest.approx((1 - alpha, 1 - 2 * alpha))
        seen.add((excluded, inside))
    assert len(seen) >= 3


def test_verdicts_on_the_same_data_agree():
    for values, asked in random_differences(100):
        verdict = {claim: stats.paired(values, claim=claim, **asked).verdict for claim in CLAIMS}
        assert verdict["greater"] != "holds" or verdict["less"] == "fails"
        assert (verdict["different"] == "holds") == ("holds" in (verdict["greater"], verdict["less"]))
        assert verdict["equivalent"] != "fails" or verdict["different"] != "fails"
        assert verdict["equivalent"] != "holds" or "undecided" not in (verdict["greater"], verdict["less"])


#                 values' centre and spread, margin -> verdict of different, greater, less, equivalent
VERDICTS = {
    "clearly above": (5.0, 1.0, 1.0, ("holds", "holds", "fails", "fails")),
    "clearly below": (-5.0, 1.0, 1.0, ("holds", "fails", "holds", "fails")),
    "above, but within the margin": (0.5, 0.1, 1.0, ("holds", "holds", "fails", "holds")),
    "near zero, tight": (0.0, 0.1, 1.0, ("fails", "fails", "fails", "holds")),
    "near zero, wide": (0.0, 9.0, 1.0, ("undecided", "undecided", "undecided", "undecided")),
    "not above by the margin": (-1.0, 1.5, 1.0, ("undecided", "fails", "undecided", "undecided")),
    "not below by the margin": (1.0, 1.5, 1.0, ("undecided", "undecided", "fails", "undecided")),
    "above, no margin": (5.0, 1.0, None, ("holds", "holds", "fails", None)),
    "near zero, tight, no margin": (0.0, 0.1, None, ("undecided", "undecided", "undecided", None)),
}


@pytest.mark.parametrize("threshold", [0.0, -3.0])
@pytest.mark.parametrize("case", VERDICTS)
def test_holds_needs_the_claim_shown_and_fails_its_opposite(case, threshold):
    centre, spread, margin, expected = VERDICTS[case]
    values = centre + threshold + spread * np.array([-1.2, -0.7, -0.1, 0.2, 0.7, 1.1])
    for claim, verdict in zip(CLAIMS, expected, strict=True):
        if verdict:
            result = stats.paired(values, claim=claim, threshold=threshold, margin=margin)
            assert result.verdict == verdict, claim
            assert (result.replicates_needed is None) or verdict == "undecided"


def test_an_interaction_is_a_difference_of_differences():
    both, only_a, only_b, neither = np.random.default_rng(2).normal(size=(4, 7))
    direct = stats.interaction_2x2(both, only_a, only_b, neither, claim="greater")
    assert direct == stats.paired(both - only_b - only_a + neither, claim="greater")
    assert stats.interaction_2x2(both + 9, only_a + 9, only_b, neither).p == pytest.approx(direct.p)
    assert stats.interaction_2x2(both + 9, only_a, only_b + 9, neither).p == pytest.approx(direct.p)


# Many arms


def arms(seed: int, effects, n: int = 8) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    base = draw.normal(size=n)
    named = {f"arm{i}": base + effect + draw.normal(size=n) for i, effect in enumerate(effects)}
    return {"default": base, **named}


@pytest.mark.parametrize("claim", ["different", "greater", "equivalent"])
def test_over_arms_holm_the_intervals_and_the_verdicts_agree(claim):
    shown = 0
    for seed in range(25):
        values = arms(seed, [0, 0, 0.2, 1.2, 1.5, 3], n=12)
        results = stats.compare_arms(values, "default", claim=claim, margin=1.0)
        p = stats.holm([stats.paired(values[arm], values["default"]).p for arm in results])
        tost = stats.holm([stats.tost(values[arm], values["default"], margin=1.0).p for arm in results])
        assert list(results) == ["arm0", "arm1", "arm2", "arm3", "arm4", "arm5"]
        assert len({(r.ci_prob, r.equivalence.ci_prob) for r in results.values()}) == 1
        for result, p_holm, p_tost in zip(results.values(), p, tost, strict=True):
            assert (result.p_holm, result.equivalence.p_holm) == pytest.approx((p_holm, p_tost))
            assert (p_holm < 0.05) == (not result.ci_low <= 0 <= result.ci_high)
            assert (p_tost < 0.05) == result.equivalence.holds
            holds = {
                "different": p_holm < 0.05,
                "greater": p_holm < 0.05 and result.estimate > 0,
                "equivalent": p_tost < 0.05,
            }[claim]
            assert (result.verdict == "holds") == holds
            shown += holds
    assert 10 < shown < 140


def test_one_arm_is_a_plain_paired_comparison():
    values = arms(0, [0.3])
    (alone,) = stats.compare_arms(values, "default", margin=0.5).values()
    plain = stats.paired(values["arm0"], values["default"], margin=0.5)
    for name in ("estimate", "ci_low", "ci_high", "verdict", "replicates_needed", "p_sign_flip"):
        assert getattr(alone, name) == getattr(plain, name)
    assert alone.p_holm == alone.p == plain.p
    assert alone.equivalence.p_holm == alone.equivalence.p == plain.equivalence.p


@pytest.mark.parametrize(("claim", "chosen"), [("greater", "arm2"), ("less", "arm1")])
def test_the_winner_is_the_best_mean_judged_as_among_all_arms(claim, chosen):
    values = arms(1, [0, -4, 4, 0.5])
    winner, result = stats.winner_beats_baseline(values, "default", claim=claim)
    assert winner == chosen
    assert result == stats.compare_arms(values, "default", claim=claim)[chosen]
    assert stats.winner_beats_baseline(values, "default")[0] == "arm2"


# How many replicates


def test_an_undecided_claim_asks_for_more_replicates_and_a_decided_one_for_none():
    for values, asked in random_differences(60):
        for claim in CLAIMS:
            result = stats.paired(values, claim=claim, **asked)
            if result.verdict == "undecided":
                assert result.replicates_needed > result.num_replicates
            else:
                assert result.replicates_needed is None


def test_more_replicates_are_needed_even_where_as_many_again_would_likely_decide():
    # The bands of "different" and "no difference" all but touch, and the estimate fell in the gap.
    values = np.array([-1.4, -1.0, -0.6, -0.2, 0.2, 0.6, 1.0, 1.4])
    values = values / values.std(ddof=1) + 0.833
    assert stats.replicates_needed(0.833, 1, margin=1.5) <= 8
    result = stats.paired(values, margin=1.5)
    assert (result.verdict, result.replicates_needed) == ("undecided", 9)


def test_smaller_effects_and_stricter_levels_need_more_replicates():
    needed = [stats.replicates_needed(effect, 1) for effect in (2, 1, 0.5, 0.25, 0.125)]
    assert needed == sorted(set(needed))
    assert needed[4] / needed[3] == pytest.approx(4, rel=0.05)  # n grows as 1/effect^2
    assert stats.replicates_needed(1, 1, alpha=0.005) > stats.replicates_needed(1, 1)
    assert stats.replicates_needed(1, 1, power=0.95) > stats.replicates_needed(1, 1)


ON_THE_EDGE = {
    "no difference, no margin": ([-1, 1, -2, 2], {"claim": "different"}),
    "at the threshold": ([2, 4, 1, 5], {"claim": "greater", "threshold": 3}),
    "at the margin": ([0, 2, -1, 3], {"claim": "equivalent", "margin": 1}),
    "no spread, at the threshold": ([2, 2, 2, 2], {"claim": "greater", "threshold": 2}),
}


@pytest.mark.parametrize("case", ON_THE_EDGE)
def test_on_the_edge_of_a_claim_no_number_of_replicates_is_promised(case):
    values, asked = ON_THE_EDGE[case]
    result = stats.paired(values, **asked)
    assert (result.verdict, result.replicates_needed, result.reason) == ("undecided", None, "on-the-edge")
    assert result.reason in stats.REASONS


# Too little spread, too few values


def test_one_replicate_decides_nothing():
    for result in (
        stats.paired([3.0], margin=1),
        stats.two_sample([3.0], [1, 2, 3.5]),
        stats.slope([0, 1], [2, 3]),
    ):
        assert (result.verdict, result.reason) == ("undecided", "spread-unknown")
        assert (result.ci_low, result.ci_high, result.std_error, result.effect) == (None, None, None, None)
        assert (result.p, result.replicates_needed) == (1.0, None)
    assert stats.mean_interval([3.0]).ci_low is None


@pytest.mark.parametrize(
    "same",
    [
        lambda n: (np.full(n, 0.01), None),
        lambda n: (np.geomspace(0.1, 7, n) + 0.01, np.geomspace(0.1, 7, n)),
        lambda n: (
            np.geomspace(0.1, 7, n, dtype="f4") + np.float32(0.01),
            np.geomspace(0.1, 7, n, dtype="f4"),
        ),
    ],
    ids=["equal", "equal but for rounding", "equal but for float32 rounding"],
)
def test_equal_differences_are_judged_by_the_sign_flip_test(same):
    few, enough = stats.paired(*same(3), claim="greater"), stats.paired(*same(6), claim="greater")
    assert (few.verdict, few.p, few.replicates_needed, few.reason) == ("undecided", 0.25, 6, "no-spread")
    assert (few.ci_low, few.ci_high, few.ci_method) == (None, None, "exact")
    assert (enough.verdict, enough.p, enough.p_method, enough.effect) == ("holds", 0.03125, "exact", None)
    assert (enough.ci_low, enough.ci_high) == pytest.approx((0.01, 0.01), abs=1e-4)


@pytest.mark.parametrize("n", [4, 5, 2000])
def test_identical_arms_are_equivalent_once_there_are_enough_of_them(n):
    a = np.random.default_rng(0).normal(size=n)
    result = stats.paired(a, a, claim="equivalent", margin=0.1)
    assert (result.verdict, result.replicates_needed) == (("undecided", 5) if n == 4 else ("holds", None))
    assert (result.p, result.estimate) == (1.0, 0.0)
    assert stats.paired(a, a, margin=0.1).verdict == ("undecided" if n == 4 else "fails")


def test_without_spread_all_orders_or_splits_are_equally_likely():
    assert stats.two_sample([1, 1, 1], [0, 0, 0]).p == 2 / 20
    assert stats.two_sample([1, 1, 1, 1], [0, 0, 0, 0]).verdict == "holds"  # 2/70
    assert stats.two_sample([1, 1, 1], [0, 0, 0]).replicates_needed == 8
    line = stats.slope([0.1, 0.2, 0.4], [0.1 * 3 + 0.7, 0.2 * 3 + 0.7, 0.4 * 3 + 0.7])  # but for rounding
    assert (line.p, line.verdict, line.replicates_needed) == (2 / 6, "undecided", 5)


def test_results_are_json_without_nan():
    results = [
        stats.paired([1.0]),
        stats.paired([1, 1, 1], margin=2),
        stats.paired([1, 2, 4], margin=2),
        *stats.compare_arms(arms(0, [0, 1]), "default", margin=0.1).values(),
        stats.slope([1, 2, 3], [1, 2, 4]),
        stats.mean_interval([1]),
        stats.proportion_interval(0, 5),
    ]
    for result in results:
        assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == result.to_dict()


# What is refused

NAN, INF = float("nan"), float("inf")
REFUSED = {
    "diverged": (
        lambda: stats.paired([1, 2, NAN, 4], [0] * 4),
        r"paired.a\[2\] must be .*finite.*got nan.*diverged",
    ),
    "two diverged": (lambda: stats.paired([1, INF, NAN]), r"paired.a\[1\] \(and 1 more\) must be .*finite"),
    "stored as None": (lambda: stats.paired([1, None, 2]), r"paired.a\[1\] must be .*finite.*got nan"),
    "too large to square": (lambda: stats.paired([1, 1e200]), r"paired.a\[1\] must be .*finite"),
    "diverged arm": (
        lambda: stats.compare_arms({"relu": [1, 2], "tanh": [NAN, 1]}, "relu"),
        r"compare_arms.values_by_arm\['tanh'\]\[0\] must be",
    ),
    "empty": (lambda: stats.paired([]), "paired.a must be one row .* not empty"),
    "matrix": (lambda: stats.paired([[1, 2], [3, 4]]), "paired.a must be one row"),
    "ragged": (lambda: stats.paired([[1, 2], [3]]), "paired.a must be one row"),
    "words": (lambda: stats.paired(["1", "2"]), "paired.a must be one row"),
    "complex": (lambda: stats.paired([1j, 2]), "paired.a must be one row"),
    "unpaired": (
        lambda: stats.paired([1, 2, 3], [1, 2]),
        r"paired.b must have .* of a \(3\); got 2.*two_sample",
    ),
    "slope unpaired": (lambda: stats.slope([1, 2, 3], [1, 2]), "slope.y must have one value for each x"),
    "constant x": (lambda: stats.slope([1, 1, 1], [1, 2, 3]), "slope.x must take at least two values"),
    "no margin": (lambda: stats.paired([1, 2], claim="equivalent"), "paired.margin must be positive"),
    "negative margin": (lambda: stats.paired([1, 2], margin=-1), "paired.margin must be positive"),
    "margin is NaN": (lambda: stats.paired([1, 2], margin=NAN), "paired.margin must be positive"),
    "alpha": (lambda: stats.paired([1, 2], alpha=0.5), r"paired.alpha must be in \(0, 0.5\)"),
    "threshold": (lambda: stats.paired([1, 2], threshold=NAN), "paired.threshold must be finite"),
    "only the baseline": (
        lambda: stats.compare_arms({"a": [1]}, "a"),
        "must hold an arm beside the baseline",
    ),
    "p above 1": (lambda: stats.holm([0.5, 1.5]), r"holm.p must be .* in \[0, 1\]"),
    "p is NaN": (lambda: stats.holm([NAN]), r"holm.p must be .* in \[0, 1\]"),
    "more than all": (lambda: stats.proportion_interval(6, 5), "0 <= count <= total"),
    "none of none": (lambda: stats.proportion_interval(0, 0), "total >= 1"),
    "ci_prob": (
        lambda: stats.mean_interval([1, 2], ci_prob=95),
        r"mean_interval.ci_prob must be in \(0, 1\)",
    ),
    "no spread to plan with": (lambda: stats.replicates_needed(1, 0), "finite std_dev > 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_gets_one_line_that_says_where(case):
    call, message = REFUSED[case]
    with pytest.raises(InvalidInput, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'greater'"):
        stats.paired([1, 2], claim="grater")
    with pytest.raises(UnknownName, match="Did you mean 'relu'"):
        stats.compare_arms({"relu": [1, 2], "tanh": [1, 2]}, "Relu")
    with pytest.raises(UnknownName, match="'greater', 'less'; got 'different'"):
        stats.winner_beats_baseline({"a": [1, 2], "b": [1, 2]}, "a", claim="different")


# The interval that decided


DECIDED = {
    "more": ({"claim": "greater", "margin": 1.0}, 5.0, "above", 0.95),
    "less than nothing": ({"claim": "greater", "margin": 1.0}, -5.0, "below", 0.95),
    "nothing that matters": ({"claim": "greater", "margin": 1.0}, 0.0, "within", 0.90),
    "the same": ({"claim": "equivalent", "margin": 1.0}, 0.0, "within", 0.90),
    "not the same": ({"claim": "equivalent", "margin": 1.0}, 5.0, "above", 0.90),
    "different": ({"claim": "different"}, -5.0, "below", 0.95),
    "undecided": ({"claim": "less"}, 0.0, "open", 0.95),
    "undecided with a margin": ({"claim": "equivalent", "margin": 0.1}, 0.0, "open", 0.90),
}


@pytest.mark.parametrize(("asked", "shift", "reading", "level"), DECIDED.values(), ids=DECIDED)
def test_the_interval_that_decided_is_told_with_its_level(asked, shift, reading, level):
    found = stats.paired(shift + np.linspace(-1, 1, 9), **asked)
    assert (found.reading, found.deciding.ci_prob) == (reading, pytest.approx(level))
    ends = (found.deciding.ci_low, found.deciding.ci_high)
    if level == 0.95:
        assert ends == (found.ci_low, found.ci_high)
    else:
        assert ends == (found.equivalence.ci_low, found.equivalence.ci_high)
    assert found.to_dict()["deciding"]["ci_prob"] == found.deciding.ci_prob
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_deciding_interval_alone_gives_the_verdict():
    """Whoever sees it with margin and threshold can tell: -1.23 [-3.22, +0.76] is not within half a point."""
    draw = np.random.default_rng(5)
    for _ in range(300):
        claim = draw.choice(["different", "greater", "less", "equivalent"])
        found = stats.paired(draw.normal(draw.normal(), 1, 8), claim=claim, margin=0.8)
        low, high = found.deciding.ci_low, found.deciding.ci_high
        shown = {
            "above": low > (0.8 if claim == "equivalent" else 0),
            "below": high < (-0.8 if claim == "equivalent" else 0),
            "within": low > -0.8 and high < 0.8,
            "not-above": high < 0.8,
            "not-below": low > -0.8,
            "open": True,
        }
        assert shown[found.reading]
        assert (found.verdict == "undecided") == (found.reading == "open")


def test_a_difference_that_is_real_may_be_too_small_to_matter():
    found = stats.paired(0.1 + np.linspace(-0.01, 0.01, 9), claim="greater", margin=1.0)
    assert (found.verdict, found.is_too_small) == ("holds", True)
    assert not stats.paired(2 + np.linspace(-0.01, 0.01, 9), claim="greater", margin=1.0).is_too_small


# Few distinct values


def test_t_alone_does_not_decide_on_a_few_distinct_values():
    """The shift of a grid's best rate: of 20 seeds, 15 stay and 5 move by one place."""
    found = stats.paired([0.0] * 15 + [-0.477] * 5, claim="less")
    assert (found.verdict, found.reason, found.replicates_needed) == ("undecided", "few-values", None)
    assert found.p == found.p_sign_flip == pytest.approx(0.0625)
    assert (found.ci_high, found.ci_method) == (0, "sign-flip")


def test_a_coin_is_called_a_difference_too_often_by_t_and_not_with_the_sign_flip_test():
    """All outcomes of 13 differences of +1 or -1, each with its probability: exact, and no simulation."""
    by_t = guarded = 0.0
    for heads in range(14):
        probability = math.comb(13, heads) / 2**13
        values = np.repeat([1.0, -1.0], [heads, 13 - heads])
        found = stats.paired(values)
        error = values.std(ddof=1) / math.sqrt(13)
        alone = error == 0 or abs(values.mean()) / error > scipy_stats.t.ppf(0.975, 12)
        by_t += probability * alone
        guarded += probability * (found.verdict == "holds")
    assert by_t > 0.09
    assert 0 < guarded < 0.05


@pytest.mark.parametrize("n", [6, 13, 20, 40])
def test_the_interval_on_few_values_leaves_out_what_its_test_rejects(n):
    draw = np.random.default_rng(n)
    for _ in range(20):
        values = draw.choice([-1.0, 0.0, 2.0], size=n)
        found = stats.paired(values)
        if found.ci_method != "sign-flip":
            continue
        for edge in (found.ci_low, found.ci_high):
            if edge is None:
                continue
            outside = edge + (1e-3 if edge == found.ci_high else -1e-3)
            assert (
                stats.paired(values, threshold=outside).p
                < 0.05
                <= stats.paired(values, threshold=edge).p + 0.05
            )
        assert (found.verdict == "holds") == (found.p < 0.05)


def test_ordinary_differences_are_judged_by_t():
    draw = np.random.default_rng(3)
    for n in (2, 5, 20, 100):
        assert stats.paired(draw.normal(size=n)).ci_method == "t"
    counts = draw.binomial(10_000, 0.87, size=(2, 20)) / 10_000  # accuracies of 20 seeds
    assert stats.paired(*counts).ci_method == "t"


# One family


def test_a_family_is_held_to_holms_level():
    draw = np.random.default_rng(11)
    for _ in range(12):
        rows = draw.normal(draw.normal(0, 0.6, size=(6, 1)), 1, size=(6, 12))
        alone = [stats.paired(row) for row in rows]
        family = stats.one_family(alone)
        shown = stats.holm([one.p for one in alone]) < 0.05
        assert [one.verdict == "holds" for one in family] == shown.tolist()
        left = max(1, 6 - int(shown.sum()))
        assert [one.ci_prob for one in family] == pytest.approx([1 - 0.05 / left] * 6)
        assert stats.one_family(family) == family


def test_a_family_that_is_decided_keeps_its_intervals():
    one, two = (
        stats.paired(5 + np.linspace(-1, 1, 9)),
        stats.paired(np.linspace(-1, 1, 9), claim="less", margin=3),
    )
    assert stats.one_family([one, two]) == [one, two]
    assert stats.one_family([]) == []


def test_each_look_has_its_part_of_alpha():
    draw = np.random.default_rng(5)
    rows = [draw.normal(mean, 1, size=12) for mean in (0, 0.5, 1, 2)]
    for looks in (1, 3, 5):
        at_a_look = stats.one_family([stats.paired(row) for row in rows], looks=looks)
        smaller = stats.one_family([stats.paired(row, alpha=0.05 / looks) for row in rows])
        assert [one.verdict for one in at_a_look] == [one.verdict for one in smaller]
        assert [one.ci_low for one in at_a_look] == pytest.approx([one.ci_low for one in smaller])
    (alone,) = stats.one_family([stats.paired(rows[0])], looks=4)
    assert alone.ci_prob == pytest.approx(1 - 0.05 / 4)


def test_arms_and_other_claims_of_a_family_agree_with_holm_over_all():
    """An arm's own family is judged at its share of alpha."""
    draw = np.random.default_rng(2)
    arms = {name: draw.normal(0.5, 1, 10) for name in "abc"} | {"none": np.zeros(10)}
    found = stats.compare_arms(arms, "none")["a"]
    open_ = stats.paired(np.linspace(-1, 1, 9))
    (within, _) = stats.one_family([found, open_])
    again = stats.compare_arms(arms, "none", alpha=0.025 if within.verdict == "undecided" else 0.05)["a"]
    assert within.verdict == again.verdict


def test_a_comparison_survives_a_trip_between_processes():
    for found in (
        stats.paired([0.0] * 4 + [1.0] * 4),
        stats.two_sample([1.0, 2, 3], [4.0, 5, 7]),
        stats.slope([1, 2, 3, 4], [1.0, 2, 3, 5]),
        stats.resampled([1.0, 2, 3, 4], test_train_ratio=0.25),
    ):
        assert pickle.loads(pickle.dumps(found)) == found
        assert copy.deepcopy(found).to_dict() == found.to_dict()


# Seeds and examples


def test_an_interval_over_seeds_alone_is_too_short_for_new_examples():
    """200 studies whose true difference is 0: examples differ in which arm they favour, and are drawn too."""
    draw, covered = np.random.default_rng(4), {"two-way": 0, "seeds": 0}
    for _ in range(200):
        difference = (
            draw.normal(0, 0.01, (10, 1)) + draw.normal(0, 0.3, (1, 500)) + draw.normal(0, 0.3, (10, 500))
        )
        for name, found in (
            ("two-way", stats.two_way(difference)),
            ("seeds", stats.mean_interval(difference.mean(1))),
        ):
            covered[name] += found.ci_low <= 0 <= found.ci_high
    assert covered["two-way"] >= 180
    assert covered["seeds"] < 140


def test_packed_bits_give_the_interval_of_the_bits():
    draw = np.random.default_rng(0)
    a, b = draw.random((5, 1_003)) < 0.9, draw.random((5, 1_003)) < 0.85
    packed = [np.packbits(hits, axis=1) for hits in (a, b)]
    assert stats.two_way(*packed, num_examples=1_003) == stats.two_way(a, b)
    found = stats.two_way(a, b)
    assert found.estimate == pytest.approx(a.mean() - b.mean())
    assert stats.two_way(a.astype(float) - b) == found


@pytest.mark.parametrize(
    ("a", "more"),
    [
        (np.zeros((1, 5)), {}),
        (np.zeros(5), {}),
        (np.full((2, 5), np.nan), {}),
        (np.zeros((2, 5)), {"b": np.zeros((2, 4))}),
        (np.zeros((2, 5)), {"num_examples": 40}),
        (np.zeros((2, 5), np.uint8), {"num_examples": 41}),
    ],
    ids=["one seed", "one row", "nan", "shapes", "no bits", "too few bits"],
)
def test_what_is_not_crossed_is_refused(a, more):
    with pytest.raises(InvalidInput, match="two_way"):
        stats.two_way(a, **more)


def test_a_prediction_interval_holds_the_mean_of_new_replicates_as_often_as_it_says():
    """Known normal replicates; the interval of the mean, in its place, would hold far fewer."""
    draws = np.random.default_rng(3).normal(size=(4000, 8))
    for num_new in (1, 3):
        new = draws[:, 5:][:, :num_new].mean(1)
        bounds = np.array([stats.prediction_interval(d[:5], num_new=num_new, ci_prob=0.9) for d in draws])
        held = np.mean((bounds[:, 0] <= new) & (new <= bounds[:, 1]))
        assert abs(held - 0.9) < 0.02
