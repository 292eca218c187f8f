"""mlplab.stats on simulated data whose truth is known. Each check is shown a method that must not pass it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mlplab import stats

pytestmark = pytest.mark.slow  # thousands of repeats; test_stats.py has the rest


def rate_is_at_most(rate: float, hits: np.ndarray) -> bool:
    """Not refuted by the binomial test at .001: a correct method fails once in a thousand seeds."""
    return scipy_stats.binomtest(int(hits.sum()), hits.size, rate, alternative="greater").pvalue > 0.001


def rate_is_near(rate: float, hits: np.ndarray, above: float = 0.0) -> bool:
    """Within four binomial standard errors of `rate`; `above` allows for what is rounded up."""
    error = 4 * math.sqrt(rate * (1 - rate) / hits.size)
    return rate - error <= hits.mean() <= rate + above + error


def covers_as_promised(low: np.ndarray, high: np.ndarray, truth: float) -> bool:
    """95% intervals may fall short of .95 by no more than .01."""
    return bool(((low <= truth) & (truth <= high)).mean() >= 0.94)


# Intervals

REPEATS = 4_000


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_of_a_mean_covers_it(n):
    x = np.random.default_rng(n).normal(3, 2, size=(REPEATS, n))
    intervals = [stats.mean_interval(row) for row in x]
    low, high = (np.array([getattr(i, name) for i in intervals]) for name in ("ci_low", "ci_high"))
    assert covers_as_promised(low, high, truth=3)


def test_the_coverage_check_rejects_the_t_interval_on_strong_skew():
    """The limit that the module names: of exponential values with n = 5 the interval covers .88."""
    x = np.random.default_rng(12).exponential(size=(REPEATS, 5))
    intervals = [stats.mean_interval(row) for row in x]
    low, high = (np.array([getattr(i, name) for i in intervals]) for name in ("ci_low", "ci_high"))
    assert not covers_as_promised(low, high, truth=1)
    assert ((low <= 1) & (high >= 1)).mean() == pytest.approx(0.883, abs=0.02)


@pytest.mark.parametrize(("n", "known"), [(5, 0.851), (10, 0.898), (20, 0.921)])
def test_the_coverage_check_rejects_the_percentile_bootstrap(n, known):
    draw = np.random.default_rng(n)
    x = draw.normal(3, 2, size=(REPEATS, n))
    # Bootstrap means of one sample: weights of its n values, by a multinomial draw.
    weights = draw.multinomial(n, np.full(n, 1 / n), size=(REPEATS // 10, 500)) / n
    low, high = np.concatenate(
        [
            np.quantile(weights @ block[:, :, None], [0.025, 0.975], axis=1)[..., 0]
            for block in np.split(x, 10)
        ],
        axis=1,
    )
    covered = (low <= 3) & (high >= 3)
    assert not covers_as_promised(low, high, truth=3)
    assert covered.mean() == pytest.approx(known, abs=0.02)  # so the check failed for the known reason


@pytest.mark.parametrize("method", ["welch", "pooled"])
def test_two_samples_of_unequal_spread_need_welch(method):
    draw = np.random.default_rng(1)
    a, b = draw.normal(1, 5, size=(2_000, 5)), draw.normal(0, 1, size=(2_000, 15))
    if method == "pooled":
        bounds = scipy_stats.ttest_ind(a, b, axis=1).confidence_interval()
        low, high = bounds.low, bounds.high
    else:
        results = [stats.two_sample(x, y, threshold=1) for x, y in zip(a, b, strict=True)]
        low, high = np.array([r.ci_low for r in results]), np.array([r.ci_high for r in results])
    assert covers_as_promised(low, high, truth=1) == (method == "welch")


@pytest.mark.parametrize("points", ["independent", "one trajectory"])
def test_the_interval_of_a_slope_covers_it_for_independent_points_only(points):
    x, noise = np.arange(10.0), np.random.default_rng(2).normal(size=(REPEATS, 10))
    y = -0.5 * x + (noise.cumsum(axis=1) if points == "one trajectory" else noise)
    results = [stats.slope(x, row, threshold=-0.5) for row in y]
    low, high = np.array([r.ci_low for r in results]), np.array([r.ci_high for r in results])
    assert covers_as_promised(low, high, truth=-0.5) == (points == "independent")


# Verdicts on one comparison


def test_a_difference_that_is_not_there_is_shown_in_five_percent():
    x = np.random.default_rng(3).normal(size=(3_000, 6))
    shown = np.array([stats.paired(row).verdict == "holds" for row in x])
    greater = np.array([stats.paired(row, claim="greater").verdict for row in x])
    assert rate_is_near(0.05, shown)
    assert rate_is_near(0.025, greater == "holds")
    assert rate_is_near(0.025, greater == "fails")
    by_normal_table = np.abs(x.mean(1) / x.std(1, ddof=1) * math.sqrt(6)) > 1.96
    assert not rate_is_at_most(0.05, by_normal_table)


@pytest.mark.parametrize("shape", ["normal", "laplace", "standard_t"])
def test_the_sign_flip_test_holds_its_level_for_any_symmetric_shape(shape):
    draw = np.random.default_rng(4)
    size = {"size": (REPEATS, 8)}
    x = draw.standard_t(1, **size) if shape == "standard_t" else getattr(draw, shape)(**size)
    p = np.array([stats.sign_flip_test(row).p for row in x])
    for level in (2 / 2**8, 0.05, 0.2):
        assert rate_is_at_most(level, p <= level)
    assert (p <= 0.0625).mean() > 0.05  # and is not merely never small
    skewed = np.array([stats.sign_flip_test(row).p for row in draw.exponential(**size) - 1])
    assert not rate_is_at_most(0.05, skewed <= 0.05)


@pytest.mark.parametrize("truth", [0.5, -0.5])
def test_equivalence_is_wrongly_shown_in_five_percent_at_the_margin(truth):
    x = np.random.default_rng(5).normal(truth, 0.4, size=(3_000, 8))
    results = [stats.paired(row, claim="equivalent", margin=0.5) for row in x]
    assert rate_is_near(0.05, np.array([r.verdict == "holds" for r in results]))
    assert rate_is_near(0.05, np.array([r.verdict == "fails" for r in results]))
    # The fallacy: "no significant difference, hence none".
    assert not rate_is_at_most(0.05, np.array([r.p >= 0.05 for r in results]))


@pytest.mark.parametrize(("claim", "truth"), [("greater", 0.5), ("less", -0.5), ("different", 0.5)])
def test_no_difference_that_matters_is_wrongly_said_in_five_percent(claim, truth):
    x = np.random.default_rng(6).normal(truth, 1.0, size=(3_000, 8))
    results = [stats.paired(row, claim=claim, margin=0.5) for row in x]
    assert rate_is_at_most(0.05, np.array([r.verdict == "fails" for r in results]))
    assert not rate_is_at_most(0.05, np.array([r.verdict != "holds" for r in results]))


# Many arms


def test_of_fifty_equal_arms_the_winner_rarely_beats_the_default():
    """The acceptance figure: at most 5% of 1,000 studies of 50 equal arms and 8 seeds."""
    studies = np.random.default_rng(7).normal(size=(1_000, 51, 8))
    names = ["default", *(f"arm{i}" for i in range(50))]
    adjusted, unadjusted = np.zeros((2, len(studies)), dtype=bool)
    for i, study in enumerate(studies):
        _, result = stats.winner_beats_baseline(dict(zip(names, study, strict=True)), "default")
        assert result.estimate == pytest.approx((study[1:].mean(1) - study[0].mean()).max())
        adjusted[i] = result.verdict == "holds"
        unadjusted[i] = result.p < 0.05
    assert adjusted.mean() <= 0.05
    assert not rate_is_at_most(0.05, unadjusted)


@pytest.mark.parametrize("claim", ["different", "equivalent"])
def test_over_arms_any_false_claim_is_rare(claim):
    """Half of the arms make the claim true, so Holm has steps to take; the other half sit at its border."""
    margin, true, border = (1.0, 4.0, 0.0) if claim == "different" else (1.0, 0.0, 1.0)
    draw = np.random.default_rng(8)
    effects = np.array([0.0, *[true] * 4, *[border] * 4])[:, None]
    spread = 1.0 if claim == "different" else 0.3
    any_false, any_false_unadjusted, stopped_early = np.zeros((3, 1_000), dtype=bool)
    for i in range(1_000):
        values = dict(
            zip(
                "0123abcde",
                effects[[1, 2, 3, 4, 5, 6, 7, 8, 0]] + spread * draw.normal(size=(9, 10)),
                strict=True,
            )
        )
        results = stats.compare_arms(values, "e", claim=claim, margin=margin)
        any_false[i] = any(results[arm].verdict == "holds" for arm in "abcd")
        p = [results[arm].equivalence.p if claim == "equivalent" else results[arm].p for arm in "abcd"]
        any_false_unadjusted[i] = min(p) < 0.05
        stopped_early[i] = all(results[arm].verdict == "holds" for arm in "0123")
    assert stopped_early.mean() > 0.9  # Holm did reach the step at which only the false claims are left
    assert rate_is_at_most(0.05, any_false)
    assert not rate_is_at_most(0.05, any_false_unadjusted)


def test_looks_that_were_planned_keep_the_error_that_looks_at_will_lose():
    """Seeds are added until something is shown, and nothing is there to be shown."""
    draw, planned = np.random.default_rng(14), (6, 10, 16, 26)
    shown, shown_at_full_level = np.zeros((2, 300), dtype=bool)
    for i in range(300):
        values = draw.normal(size=planned[-1])
        looks = [stats.paired(values[:num]) for num in planned]
        shown_at_full_level[i] = any(look.verdict == "holds" for look in looks)
        at_its_part = (stats.one_family([look], looks=len(planned))[0] for look in looks)
        shown[i] = any(look.verdict == "holds" for look in at_its_part)
    assert shown.mean() <= 0.05
    assert not rate_is_at_most(0.05, shown_at_full_level)


# How many replicates

PLANS = {
    "different": {"claim": "different", "truth": 0.6},
    "greater, truth below": {"claim": "greater", "truth": -1.5},
    "greater, with a margin": {"claim": "greater", "truth": 0.1, "margin": 0.9},
    "less, with a margin and a threshold": {"claim": "less", "truth": 1.1, "margin": 0.8, "threshold": 1.0},
    "equivalent": {"claim": "equivalent", "truth": 0.1, "margin": 0.7},
    "equivalent, truth outside": {"claim": "equivalent", "truth": 1.5, "margin": 0.5},
    "different, with a margin": {"claim": "different", "truth": 0.3, "margin": 0.8},
    "different, stricter": {"claim": "different", "truth": 1.0, "alpha": 0.005},
}


@pytest.mark.parametrize("plan", PLANS)
def test_with_the_replicates_needed_four_in_five_studies_decide(plan):
    asked = dict(PLANS[plan])
    truth = asked.pop("truth")
    needed = stats.replicates_needed(truth, 1.0, **asked)

    def decided(n: int) -> np.ndarray:
        x = np.random.default_rng(9).normal(truth, 1.0, size=(1_500, n))
        return np.array([stats.paired(row, **asked).verdict != "undecided" for row in x])

    # A whole number of replicates rounds up: one fewer would fall short.
    assert rate_is_near(0.8, decided(needed), above=0.06)
    assert not rate_is_near(0.8, decided(round(needed * 0.6)))


def test_an_undecided_comparison_names_the_number_that_its_estimate_implies():
    result = stats.paired([0.9, -0.4, 0.7, -0.2, 0.5, 0.3, -0.6, 0.8])
    std_dev = result.std_error * math.sqrt(8)
    assert result.verdict == "undecided"
    assert result.replicates_needed == stats.replicates_needed(result.estimate, std_dev)


def test_over_arms_the_replicates_needed_allow_for_holm():
    draw = np.random.default_rng(10)
    values = {name: draw.normal(0, 1, size=8) for name in ("base", "a", *"bcdefghij")}
    values["a"] += 0.5 - (values["a"] - values["base"]).mean()
    alone, among = stats.paired(values["a"], values["base"]), stats.compare_arms(values, "base")["a"]
    assert alone.verdict == among.verdict == "undecided"
    std_dev = alone.std_error * math.sqrt(8)
    assert among.replicates_needed == stats.replicates_needed(alone.estimate, std_dev, alpha=0.05 / 10)
    assert among.replicates_needed > alone.replicates_needed


def test_welch_counts_both_samples_in_their_proportion():
    draw = np.random.default_rng(11)
    a, b = draw.normal(0.5, 1, size=6), draw.normal(0, 1, size=12)
    a, b = a - a.mean() + 0.5, b - b.mean()
    total = stats.two_sample(a, b).replicates_needed
    many = round(total / 3), round(total * 2 / 3)
    pairs = zip(
        draw.normal(0.5, a.std(ddof=1), size=(1_500, many[0])),
        draw.normal(0, b.std(ddof=1), size=(1_500, many[1])),
        strict=True,
    )
    decided = np.array([stats.two_sample(x, y).verdict != "undecided" for x, y in pairs])
    assert rate_is_near(0.8, decided, above=0.02)


# Folds of one table


def fold_differences(tables: int, rows: int, folds: int, repeats: int, seed: int = 12) -> np.ndarray:
    """Two learners of one quality on many tables: errors of y on x1 alone minus those on x2 alone, (table, split).

    y = x1 + x2 + noise, so that by symmetry their expected errors are equal.
    """
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(tables, rows, 2))
    y = x.sum(-1) + draw.normal(size=(tables, rows))
    found = []
    for _ in range(repeats):
        for held in np.array_split(draw.permutation(rows), folds):
            rest = np.setdiff1d(np.arange(rows), held)
            slopes = (x[:, rest] * y[:, rest, None]).sum(1) / (x[:, rest] ** 2).sum(1)
            errors = ((y[:, held, None] - slopes[:, None] * x[:, held]) ** 2).mean(1)
            found.append(errors[:, 0] - errors[:, 1])
    return np.array(found).T


@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (5, 10), (10, 10)])
def test_folds_of_one_table_are_rarely_called_different_where_there_is_no_difference(folds, repeats):
    differences = fold_differences(400, 100, folds, repeats)
    ratio = 1 / (folds - 1)
    shown = [stats.resampled(row, test_train_ratio=ratio).verdict == "holds" for row in differences]
    naive = [stats.paired(row).verdict == "holds" for row in differences]
    assert np.mean(shown) < 0.083  # 0.05 and three standard errors
    if repeats > 1:
        assert np.mean(naive) > 0.3  # the falsehood: folds taken for replicates


def test_the_claims_of_a_page_are_wrongly_decided_in_five_percent():
    """Six claims of different kinds whose truth is on the wrong side, or beyond the margin by nothing."""
    draw, wrong = np.random.default_rng(8), []
    for _ in range(2_000):
        family = stats.one_family(
            [
                *(stats.paired(draw.normal(0, 1, 10)) for _ in range(3)),
                *(stats.paired(draw.normal(0.5, 1, 10), claim="equivalent", margin=0.5) for _ in range(3)),
            ]
        )
        wrong.append(any(found.verdict == "holds" for found in family))
    assert rate_is_at_most(0.05, np.array(wrong))
    assert np.mean(wrong) > 0.02  # not for want of deciding anything


# What varies between seeds, examples, and seed and example.
COMPONENTS = {
    "examples above all": (0.01, 0.3, 0.3),
    "seeds above all": (0.03, 0.1, 0.5),
    "no seeds": (0.0, 0.3, 0.3),
    "no examples": (0.02, 0.0, 0.3),
    "nothing but noise": (0.0, 0.0, 0.3),
}


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
@pytest.mark.parametrize("components", COMPONENTS.values(), ids=COMPONENTS)
def test_the_two_way_interval_covers_for_new_seeds_and_examples(num_seeds, components):
    draw, (seed, example, both) = np.random.default_rng(num_seeds), components
    covered = []
    for _ in range(1_000):
        shape = (num_seeds, 1_000)
        values = draw.normal(0, seed, (num_seeds, 1)) + draw.normal(0, example, (1, 1_000))
        found = stats.two_way(values + draw.normal(0, both, shape))
        covered.append(found.ci_low <= 0 <= found.ci_high)
    assert 0.92 <= np.mean(covered) <= 0.98  # .93 to .97, and what 1,000 repeats leave open
