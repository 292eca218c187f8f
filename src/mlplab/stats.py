"""Arrays in, intervals and verdicts out. Knows nothing of models, runs or plots.

A comparison asks whether a claim about a true difference is shown by n replicates (seeds). Three rules:

1. **The interval decides.** `holds` and `fails` are read off one interval, so a plot and a sentence cannot
   contradict each other: it leaves out the threshold if and only if p < alpha. What concerns the margin is read
   off the 1 - 2 alpha interval; `Comparison.deciding` is the one that was read. It is the t interval. The exact
   sign-flip test stands beside it: it assumes less (symmetry, not a normal shape), but with fewer than 6
   replicates it cannot reach .05 at all. Where paired differences take few distinct values (at most half as many
   as there are replicates) t is not trusted: of 13 differences of +1 or -1, as of a coin, it calls one in eleven
   a difference. The interval is then the wider one of t and the sign-flip test, and both must agree.
2. **Both sides share alpha.** `greater` and `less` are read off the two-sided interval, because they may be
   found to hold or to fail: each is wrongly shown with probability alpha/2.
3. **Over arms, Holm sets the level.** If Holm shows r of m arms, every arm's interval is drawn at
   1 - alpha/(m - r), the step where Holm stopped (1 - alpha if r = m). Exactly the arms that Holm shows leave
   out the threshold: rule 1 stands, and the chance that any claim is wrongly shown is at most alpha. Alone,
   each interval covers with at least 1 - alpha; that all of them cover together is not promised. Equivalence
   is a second family, treated alike. Over claims that ask different things, as those of one page, `one_family`
   does the same: a claim counts once, whichever way it is decided, since at level alpha it is decided wrongly
   with probability at most alpha.

Without any spread (every difference equal) t is undefined, and a rearrangement test takes over: all signs,
splits or orders are equally likely, so the least one-sided p is 1/their number. Where that does not reach the
level, the interval is unbounded.

Limits. The t interval wants differences that are not strongly skewed: of exponential ones with n = 5 it
covers .88, not .95. And alpha is held for a number of replicates fixed beforehand, not for adding some until
a claim is decided.

Sources: Student 1908; Fisher 1935, The design of experiments, section 21 (sign flips); Holm 1979, Scand. J.
Statist. 6, 65; Schuirmann 1987 (two one-sided tests); Welch 1947; Clopper and Pearson 1934.
"""

from __future__ import annotations

import itertools
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache, partial
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

import numpy as np
from scipy.special import betaincinv, gammaincinv, ndtr, stdtr, stdtrit

from mlplab.errors import InvalidInput, UnknownName

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import ArrayLike

Verdict = Literal["holds", "fails", "undecided"]
ClaimKind = Literal["different", "greater", "less", "equivalent"]
# Where the truth is shown to lie: above or below the threshold (of equivalence: by more than the margin), within the
# margin of it, not above or not below it by as much as the margin. `open`: nothing is shown.
Reading = Literal["above", "below", "within", "not-above", "not-below", "open"]
Method = Literal["t", "exact", "sign-flip"]
SHOWN_BY: dict[ClaimKind, tuple[Reading, ...]] = {
    "different": ("above", "below"), "greater": ("above",), "less": ("below",), "equivalent": ("within",),
}  # fmt: skip

REASONS = {
    "spread-unknown": "too few replicates to know the spread",
    "no-spread": "the replicates show no spread: an exact rearrangement test stands in for t",
    "on-the-edge": "the estimate lies on the edge of the claim: no affordable number of replicates decides",
    "sign-flip-floor": "too few replicates for the sign-flip test to reach alpha: t stands alone",
    "one-table": "the folds share one table: more folds of it decide nothing, more rows might",
    "few-values": "the replicates take few distinct values: t decides, and the exact sign-flip test does not agree",
}
MAX_REPLICATES = 100_000
SHARE_TOLERANCE = 1e-9  # what rounding may do to a sum of shares, or to a mean weight
EXACT_SIGN_FLIPS = 30  # up to this n all 2^n flips are counted, as two halves of at most 2^15
EXACT_SUBSETS = 2**18  # up to so many different means of subsets are counted
DRAWN = 9_999  # flips or subsets beyond


class Claim(TypedDict, total=False):
    """The keywords of every comparison. The claim is about the true difference, in the units of the values.

    | claim      | holds: the 1 - alpha interval    | fails                                            |
    |------------|----------------------------------|--------------------------------------------------|
    | different  | leaves out the threshold         | equivalent within the margin                     |
    | greater    | lies above the threshold         | lies below; or is shown < threshold + margin     |
    | less       | lies below the threshold         | lies above; or is shown > threshold - margin     |
    | equivalent | (1 - 2 alpha) lies within margin | (1 - 2 alpha) lies beyond the margin on one side |

    `margin` is the largest distance from `threshold` that does not matter. `equivalent` needs it; without it,
    `different` never fails. All that concerns the margin is read off the 1 - 2 alpha interval. A difference
    can be real and yet within the margin: then `different` and the comparison's `equivalence` both hold.
    """

    claim: ClaimKind  # "different"
    threshold: float  # 0
    margin: float | None  # None
    alpha: float  # 0.05


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; a bound is None where the interval has no end."""

    estimate: float
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    ci_prob: float
    ci_method: Literal["t", "exact", "sign-flip", "clopper-pearson", "skewness-corrected t", "two-way"]
    num_replicates: int

    def __post_init__(self) -> None:
        assert_ordered(self.ci_low, self.estimate, self.ci_high)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: no NaN, no infinity."""
        return asdict(self)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (TOST): the 1 - 2 alpha interval lies within `margin` if and only if p < alpha."""

    margin: float
    p: float
    p_holm: float | None
    ci_low: float | None
    ci_high: float | None
    ci_prob: float
    holds: bool

    def __post_init__(self) -> None:
        assert_ordered(self.ci_low, self.ci_high)


@dataclass(frozen=True)
class SignFlip:
    """A two-sided sign-flip test. `floor` is the least p that n replicates can give, 2/2^n."""

    p: float
    floor: float
    method: Literal["exact", "monte carlo"]
    num_replicates: int

    def note(self, alpha: float = 0.05) -> str:
        """Says that n is too small to reach `alpha`; empty where it is not."""
        if self.floor < alpha:
            return ""
        return f"{self.num_replicates} replicates cannot reach {alpha:g}: the least p is {self.floor:g}"


@dataclass(frozen=True)
class Comparison:
    """What n replicates say about a claim; see `Claim` for the verdict. None stands for what is unbounded.

    `reading` is what the verdict rests on, and `deciding` the interval that it was read off, with its level: that of
    1 - 2 alpha for what concerns the margin, else that of 1 - alpha, which `ci_low` and `ci_high` always are.

    `effect` is the estimate over the standard deviation (paired: d_z; None without spread and for a slope).
    `p` is two-sided, against the threshold; `p_holm` the same adjusted over all arms. `p_sign_flip` and its
    least value `sign_flip_floor` are given for paired comparisons. `ci_method` and `p_method` are "exact"
    where the replicates show no spread, and "sign-flip" where they take few distinct values (rule 1).
    `equivalence` is given with a margin. `num_replicates` counts both of two separate samples.
    `replicates_needed` is the total with which an undecided claim is decided with probability .8 if the truth
    is what was estimated; where no number up to MAX_REPLICATES does that, it is None and `reason`, a key of
    REASONS, says why. `reason` may also name a caution about a verdict reached.
    """

    claim: ClaimKind
    threshold: float
    verdict: Verdict
    estimate: float
    std_error: float | None
    ci_low: float | None
    ci_high: float | None
    ci_prob: float
    ci_method: Method
    effect: float | None
    p: float
    p_method: Method
    p_holm: float | None
    p_sign_flip: float | None
    sign_flip_floor: float | None
    equivalence: Equivalence | None
    num_replicates: int
    replicates_needed: int | None
    reason: str | None
    reading: Reading
    deciding: Interval
    basis: _Basis = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        assert_ordered(self.ci_low, self.estimate, self.ci_high)

    @property
    def is_too_small(self) -> bool:
        """Whether a difference is shown, and shown to lie within the margin too: it is real and does not matter."""
        is_within = self.equivalence is not None and self.equivalence.holds
        return self.claim != "equivalent" and self.reading in ("above", "below") and is_within

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON: no NaN, no infinity."""
        held = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "basis"}
        equivalence = self.equivalence and asdict(self.equivalence)
        return held | {"equivalence": equivalence, "deciding": self.deciding.to_dict()}


def paired(
    a: Float[ArrayLike, "seed"],
    b: Float[ArrayLike, "seed"] | None = None,
    **claim: Unpack[Claim],
) -> Comparison:
    """Judge a claim about the mean of a - b over shared seeds, or of differences `a` where b is not given.

    Raises InvalidInput for values that are missing, infinite or unpaired (nothing is dropped silently) and
    for a threshold, margin or alpha that makes no sense, UnknownName for a claim that is not in `Claim`. One
    replicate is allowed, and leaves everything undecided.

    >>> paired([.81, .83, .80, .82, .84, .83], [.80, .81, .79, .80, .82, .82], claim="greater").verdict
    'holds'
    """
    terms = {"a": (1, a)} if b is None else {"a": (1, a), "b": (-1, b)}
    return _judge_contrast(_Question("paired", **claim), terms)


def tost(
    a: Float[ArrayLike, "seed"],
    b: Float[ArrayLike, "seed"] | None = None,
    *,
    margin: float,
    threshold: float = 0.0,
    alpha: float = 0.05,
) -> Equivalence:
    """Two one-sided paired t tests: is the mean within `margin` of `threshold`? Raises as `paired`."""
    comparison = paired(a, b, claim="equivalent", margin=margin, threshold=threshold, alpha=alpha)
    assert comparison.equivalence is not None
    return comparison.equivalence


def interaction_2x2(
    both: Float[ArrayLike, "seed"],
    only_a: Float[ArrayLike, "seed"],
    only_b: Float[ArrayLike, "seed"],
    neither: Float[ArrayLike, "seed"],
    **claim: Unpack[Claim],
) -> Comparison:
    """Judge a claim about how much more A does with B than without: (both - only_b) - (only_a - neither).

    One contrast for each seed; then as `paired`, and raises as it does.
    """
    terms = {"both": (1, both), "only_a": (-1, only_a), "only_b": (-1, only_b), "neither": (1, neither)}
    return _judge_contrast(_Question("interaction_2x2", **claim), terms)


def two_sample(
    a: Float[ArrayLike, "seed_a"], b: Float[ArrayLike, "seed_b"], **claim: Unpack[Claim]
) -> Comparison:
    """Judge a claim about mean(a) - mean(b) where no seeds are shared, by Welch's t. Raises as `paired`.

    Pair where you can: differences on shared seeds are free of what the arms have in common.
    `replicates_needed` counts both samples, in their present proportion.
    """
    ask = _Question("two_sample", **claim)
    (x, eps_x), (y, eps_y) = _row("two_sample.a", a), _row("two_sample.b", b)
    num, value = x.size + y.size, float(x.mean() - y.mean())
    var_x, var_y = _variance(x, eps_x), _variance(y, eps_y)
    part_x, part_y = var_x / x.size, var_y / y.size
    if min(x.size, y.size) == 1:
        df = 0.0
    elif part_x + part_y == 0:
        df = num - 2.0
    else:
        of_x = part_x / (part_x + part_y)  # a share: the square of a variance may be infinite
        df = 1 / (of_x**2 / (x.size - 1) + (1 - of_x) ** 2 / (y.size - 1))
    effect = value / math.sqrt((var_x + var_y) / 2) if df and var_x + var_y else None

    splits = partial(_splits, x.size / num)
    return _judge(
        _Basis(ask, _Estimate(value, math.sqrt(part_x + part_y), df, num, effect, max(eps_x, eps_y), splits))
    )


def slope(x: Float[ArrayLike, "point"], y: Float[ArrayLike, "point"], **claim: Unpack[Claim]) -> Comparison:
    """Judge a claim about the least-squares slope of y on x, by t with n - 2 degrees of freedom.

    "The error falls as n^-1/2": slope(log(n), log(error), claim="equivalent", threshold=-0.5, margin=0.05).
    The points must be independent: one for each run, not the steps of one run's trajectory.
    Raises as `paired`, and InvalidInput where x does not vary.
    """
    ask = _Question("slope", **claim)
    (x, eps_x), (y, eps_y) = _row("slope.x", x), _row("slope.y", y)
    if x.size != y.size:
        raise InvalidInput("slope.y", f"must have one value for each x ({x.size})", y.size)
    if np.ptp(x) <= eps_x:
        raise InvalidInput("slope.x", "must take at least two values", float(x[0]))
    u, v, df = x - x.mean(), y - y.mean(), x.size - 2
    value = float(u @ v / (u @ u))
    residuals = v - value * u
    fits_exactly = df == 0 or np.ptp(residuals) <= eps_y
    error = 0.0 if fits_exactly else math.sqrt(float(residuals @ residuals / (u @ u)) / df)
    rounding = eps_y / float(np.ptp(x))
    return _judge(_Basis(ask, _Estimate(value, error, df, x.size, None, rounding, math.factorial)))


def resampled(
    a: Float[ArrayLike, "fold"],
    b: Float[ArrayLike, "fold"] | None = None,
    *,
    test_train_ratio: float,
    **claim: Unpack[Claim],
) -> Comparison:
    """Judge a claim about the mean of a - b over folds or random splits of one table: the corrected resampled t.

    Folds share training rows, so their values are not independent, and a t interval that takes them for n replicates
    is far too short: repeating k-fold more often would shrink it without end. The variance of the mean is taken to be
    (1/n + test_train_ratio) s² in place of s²/n, with n - 1 degrees of freedom.

    Arguments:
      test_train_ratio: rows held out over rows trained on: 1/(k - 1) for k folds.

    No number of folds decides what is undecided: `replicates_needed` is None. Raises InvalidInput as `paired`, and for
    a ratio that is not positive and finite.

    Source: Nadeau and Bengio 2003, Inference for the generalization error (Machine Learning 52, 239); for repeated
    k-fold, Bouckaert and Frank 2004. The correction is a rule of thumb: `tests/test_stats_calibration.py` tries it.
    """
    ask = _Question("resampled", **claim)
    terms = {"a": (1, a)} | ({} if b is None else {"b": (-1, b)})
    return _judge(_Basis(ask, _resampled("resampled", terms, test_train_ratio), is_one_table=True))


def resampled_interval(
    x: Float[ArrayLike, "fold"], *, test_train_ratio: float, ci_prob: float = 0.95
) -> Interval:
    """The interval of a mean over folds of one table, as `resampled` has it. Raises as it does."""
    _check_prob("resampled_interval.ci_prob", ci_prob)
    mean = _resampled("resampled_interval", {"x": (1, x)}, test_train_ratio)
    low, high = mean.interval((1 - ci_prob) / 2)
    error = mean.std_error if mean.df else None
    return Interval(mean.value, error, _finite(low), _finite(high), ci_prob, mean.method, mean.num)


def compare_arms(
    values_by_arm: Mapping[str, Float[ArrayLike, "seed"]], baseline: str, **claim: Unpack[Claim]
) -> dict[str, Comparison]:
    """Judge the same claim about each arm minus the baseline, on shared seeds, with Holm over the arms.

    The chance that any claim is wrongly shown is at most alpha. All intervals have one level (`ci_prob`), the
    one at which Holm stopped: see rule 3 of the module. Raises as `paired`, UnknownName for a baseline that
    is not an arm, and InvalidInput where there is no other arm.
    """
    return _judge_arms(_Question("compare_arms", **claim), values_by_arm, baseline, list)


def winner_beats_baseline(
    values_by_arm: Mapping[str, Float[ArrayLike, "seed"]], baseline: str, **claim: Unpack[Claim]
) -> tuple[str, Comparison]:
    """The arm with the best mean, and whether it beats the baseline although it was picked for looking best.

    Held to the level of `compare_arms`: of 50 arms that do not differ one looks best, and it is called better
    in at most alpha of all studies. Its estimate stays optimistic, for it was selected: choose on validation
    data and give the test values to `paired` for an honest one. The claim is "greater" unless it is given as
    "less", where less is better. Raises as `compare_arms`.
    """
    claim.setdefault("claim", "greater")
    ask = _Question("winner_beats_baseline", **claim)
    if ask.claim not in ("greater", "less"):
        raise UnknownName("winner_beats_baseline.claim", ask.claim, ("greater", "less"))
    sign = 1 if ask.claim == "greater" else -1

    def best(means: dict[str, float]) -> list[str]:
        return [max(means, key=lambda arm: sign * means[arm])]

    return next(iter(_judge_arms(ask, values_by_arm, baseline, best).items()))


def one_family(comparisons: Sequence[Comparison], *, looks: int = 1) -> list[Comparison]:
    """The same comparisons, judged as one family: that any of their claims is wrongly decided has probability alpha.

    Arguments:
      looks: how often all are judged at most, on more and more replicates: each look has an equal part of alpha
        (Bonferroni's inequality).

    Holm's way for claims that ask different things: all are judged at alpha/m; if r are decided, at
    alpha/(m - r), until no more are. Their intervals are drawn at the level where that stops (rule 3 of the
    module), so that verdicts and intervals agree. Nothing changes where all are decided. A comparison among
    arms stays one, at its share of alpha.
    """
    step = max(1, len(comparisons))
    while step > 1:
        decided = sum(found.basis.verdict(looks * step) != "undecided" for found in comparisons)
        if max(1, len(comparisons) - decided) >= step:
            break
        step = max(1, len(comparisons) - decided)
    return [_judge(found.basis, looks * step) for found in comparisons]


def holm(p: Float[ArrayLike, "test"]) -> Float[np.ndarray, "test"]:
    """P-values adjusted for a family of tests, whatever their dependence, in the order given (Holm 1979).

    Raises InvalidInput for values outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise InvalidInput("holm.p", "must be one row of values in [0, 1]", reprlib.repr(p))
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(values.size, 0, -1)).clip(max=1)
    return adjusted


def sign_flip_test(
    differences: Float[ArrayLike, "seed"], *, threshold: float = 0.0, seed: int = 0
) -> SignFlip:
    """Two-sided test that differences lie symmetrically about `threshold`, by flipping their signs.

    Up to EXACT_SIGN_FLIPS replicates all 2^n flips count. Beyond, 9,999 are drawn from NumPy's Philox with
    key `seed`, and p = (1 + number as extreme) / 10,000 (Phipson and Smyth 2010). Raises as `paired`.
    """
    values, rounding = _contrast("sign_flip_test", {"differences": (1, differences)})
    return _sign_flip(values - threshold, rounding, seed)


def mean_interval(x: Float[ArrayLike, "seed"], *, ci_prob: float = 0.95) -> Interval:
    """The t interval of a mean, unbounded for a single value. Raises InvalidInput as `paired`."""
    _check_prob("mean_interval.ci_prob", ci_prob)
    mean = _mean(*_contrast("mean_interval", {"x": (1, x)}))
    low, high = mean.interval((1 - ci_prob) / 2)
    error = mean.std_error if mean.df else None
    return Interval(mean.value, error, _finite(low), _finite(high), ci_prob, mean.method, mean.num)


def prediction_interval(
    x: Float[ArrayLike, "seed"], *, num_new: int = 1, ci_prob: float = 0.99
) -> tuple[float, float]:
    """Between which numbers the mean of `num_new` more replicates is expected, by t: mean ± t s sqrt(1/n + 1/num_new).

    A mean's interval says where the truth lies, and most single replicates lie outside of it; this one is for them.
    Raises InvalidInput for fewer than two replicates, and as `paired`. Source: Hahn and Meeker 1991, Statistical
    intervals, section 4.7.
    """
    _check_prob("prediction_interval.ci_prob", ci_prob)
    if num_new < 1:
        raise InvalidInput("prediction_interval.num_new", "must be 1 or more", num_new)
    values, _ = _contrast("prediction_interval", {"x": (1, x)})
    mean, n = float(values.mean()), values.size
    if n < 2:
        raise InvalidInput("prediction_interval.x", "must hold two replicates or more", n)
    spread = float(values.std(ddof=1)) * math.sqrt(1 / n + 1 / num_new)
    half = -float(stdtrit(n - 1, (1 - ci_prob) / 2)) * spread
    return mean - half, mean + half


def two_way(
    a: Float[ArrayLike, "seed example"],
    b: Float[ArrayLike, "seed example"] | None = None,
    *,
    num_examples: int | None = None,
    ci_prob: float = 0.95,
) -> Interval:
    """The interval of the mean of a - b that holds for new seeds and for new examples.

    A t interval over seeds takes the test examples for all that there are. Here the variance of the mean is that of two
    crossed random effects with their interaction: (MS_seed + MS_example - MS_rest) / (seeds * examples), and at least
    what seeds alone give, with the degrees of freedom of Satterthwaite (1946).

    Arguments:
      a, b: losses, or whether each seed got each example right, of two arms on shared seeds and examples; or their
        difference as `a`. From float32 and bits on, all is worked out in float64.
      num_examples: given where the rows are packed bits, as `numpy.packbits` makes them.

    Raises InvalidInput for fewer than two seeds or examples, arms of different shapes, and values that are not finite.
    `tests/test_stats_calibration.py` tries it where seeds, examples and their interaction are known.

    Source: Searle, Casella and McCulloch 1992, Variance components, chapter 4; the pigeonhole bootstrap of Owen 2007
    (Ann. Appl. Stat. 1, 386) draws from the same model.
    """
    _check_prob("two_way.ci_prob", ci_prob)
    difference = _crossed("two_way.a", a, num_examples)
    if b is not None:
        other = _crossed("two_way.b", b, num_examples)
        if other.shape != difference.shape:
            raise InvalidInput("two_way.b", f"must have the shape of a, {difference.shape}", other.shape)
        difference = difference - other
    n, m = difference.shape
    mean = float(difference.mean())
    seeds = m * float(np.square(difference.mean(1) - mean).sum())
    examples = n * float(np.square(difference.mean(0) - mean).sum())
    rest = max(float(np.square(difference - mean).sum()) - seeds - examples, 0.0)
    dfs = np.array([n - 1, m - 1, (n - 1) * (m - 1)])
    parts = np.array([seeds, examples, rest]) / dfs / (n * m)
    variance = max(float(parts[0] + parts[1] - parts[2]), float(parts[0]))
    spread = float(np.square(parts) @ (1 / dfs))
    df = variance**2 / spread if spread else float(n - 1)
    half = -float(stdtrit(max(df, 1.0), (1 - ci_prob) / 2)) * math.sqrt(variance)
    return Interval(mean, math.sqrt(variance), mean - half, mean + half, ci_prob, "two-way", n)


def proportion_interval(count: int, total: int, *, ci_prob: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a share, such as that of diverged runs: `count` of `total`.

    It never covers less than it says; Wilson's is shorter, but covers .83 where the event is rare.
    Raises InvalidInput unless both are whole, 0 <= count <= total and total >= 1.
    """
    _check_prob("proportion_interval.ci_prob", ci_prob)
    if not (isinstance(count, Integral) and isinstance(total, Integral) and 0 <= count <= total and total):
        rule = "needs whole numbers with 0 <= count <= total and total >= 1"
        raise InvalidInput("proportion_interval", rule, (count, total))
    tail, share = (1 - ci_prob) / 2, count / total
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    error = math.sqrt(share * (1 - share) / total)
    return Interval(share, error, low, high, ci_prob, "clopper-pearson", int(total))


def replicates_needed(
    estimate: float, std_dev: float, *, power: float = 0.8, **claim: Unpack[Claim]
) -> int | None:
    """The least number of replicates with which `paired` decides the claim (either way) at this `power`.

    Taken as the truth: normal differences with mean `estimate` and standard deviation `std_dev`. None where
    MAX_REPLICATES do not suffice, as on the edge of the claim. Raises InvalidInput as `paired`.
    """
    ask = _Question("replicates_needed", **claim)
    _check_prob("replicates_needed.power", power)
    if not (math.isfinite(estimate) and 0 < std_dev < math.inf):
        rule = "needs a finite estimate and a finite std_dev > 0"
        raise InvalidInput("replicates_needed", rule, (estimate, std_dev))
    return _least_number(ask, estimate, std_dev, 1, 2, (ask.alpha / 2, ask.alpha), power)


def assert_ordered(*values: ArrayLike | None) -> None:
    """Our own invariant of an interval: low <= estimate <= high, each row of it, and no end is NaN.

    An end that is None is left out: the interval has none.
    """
    given = [np.asarray(value, dtype=np.float64) for value in values if value is not None]
    assert all((low <= high).all() for low, high in itertools.pairwise(given)), f"out of order: {values}"


def assert_shares(shares: Float[np.ndarray, "part"]) -> None:
    """Our own invariant of the shares of a whole: each lies in [0, 1], and they sum to 1."""
    assert (shares >= 0).all(), f"no shares: {shares}"
    assert abs(shares.sum() - 1) <= SHARE_TOLERANCE, f"no shares: {shares}"


def assert_weights(weights: Float[np.ndarray, "row"], shares: Float[np.ndarray, "row"] | None = None) -> None:
    """Our own invariant of importance weights: each is finite and at least 0, and their mean over the source is 1.

    Arguments:
      shares: of the source, that each weight stands for; None for equal ones.
    """
    mean = weights.mean() if shares is None else weights @ shares
    assert (weights >= 0).all(), f"no weights of mean 1: {weights}"
    assert abs(mean - 1) <= SHARE_TOLERANCE, f"no weights of mean 1: {weights}"


@dataclass(frozen=True)
class _Question:
    """A `Claim`, complete and checked."""

    owner: str
    claim: ClaimKind = "different"
    threshold: float = 0.0
    margin: float | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if self.claim not in get_args(ClaimKind):
            raise UnknownName(f"{self.owner}.claim", self.claim, get_args(ClaimKind))
        if not math.isfinite(self.threshold):
            raise InvalidInput(f"{self.owner}.threshold", "must be finite", self.threshold)
        if not 0 < self.alpha < 0.5:
            raise InvalidInput(f"{self.owner}.alpha", "must be in (0, 0.5)", self.alpha, "0.05 is common")
        if not 0 < self.reach < math.inf and (self.margin is not None or self.claim == "equivalent"):
            remedy = "It is the largest difference that does not matter; fix it before you look"
            raise InvalidInput(f"{self.owner}.margin", "must be positive and finite", self.margin, remedy)

    @property
    def reach(self) -> float:
        """The margin; without one nothing is ever small enough."""
        return -math.inf if self.margin is None else self.margin

    def verdict(self, ci: tuple[float, float], inner: tuple[float, float]) -> Verdict:
        """Read the verdict off the intervals of 1 - alpha (`ci`) and 1 - 2 alpha (`inner`)."""
        reading = self.reading(ci, inner)
        return "undecided" if reading == "open" else "holds" if reading in SHOWN_BY[self.claim] else "fails"

    def reading(self, ci: tuple[float, float], inner: tuple[float, float]) -> Reading:
        """What the intervals show, as far as the claim is about it."""
        above, below = ci[0] > self.threshold, ci[1] < self.threshold
        # One side each of the equivalence test: not greater, and not less, by as much as the margin.
        not_greater = inner[1] < self.threshold + self.reach
        not_less = inner[0] > self.threshold - self.reach
        if self.claim == "equivalent":
            above, below = inner[0] > self.threshold + self.reach, inner[1] < self.threshold - self.reach
        if above or below:
            return "above" if above else "below"
        if not_greater and not_less:
            return "within"
        if self.claim == "greater" and not_greater:
            return "not-above"
        return "not-below" if self.claim == "less" and not_less else "open"

    def is_about_margin(self, reading: Reading) -> bool:
        """Whether the 1 - 2 alpha interval shows it, or would have to."""
        return self.claim == "equivalent" or reading in ("within", "not-above", "not-below")


@dataclass(frozen=True)
class _Estimate:
    """What every comparison here comes down to: a value with a standard error and degrees of freedom."""

    value: float
    std_error: float  # 0: no spread
    df: float  # 0: the spread is unknown
    num: int
    effect: float | None
    rounding: float  # what rounding alone can do to the value: the interval's half-width without spread
    arrangements: Callable[[int], int]  # number of equally likely arrangements of n replicates
    subsets: _Subsets | None = None  # where the replicates take few distinct values

    @property
    def method(self) -> Method:
        if self.df and not self.std_error:
            return "exact"
        return "t" if self.subsets is None else "sign-flip"

    def interval(self, tail: float, num: int | None = None) -> tuple[float, float]:
        """The interval that leaves `tail` to each side; without spread, as if there were `num` replicates."""
        if not self.df:
            half = math.inf
        elif not self.std_error:
            half = self.rounding if 1 / self.arrangements(num or self.num) < tail else math.inf
        else:
            half = -float(stdtrit(self.df, tail)) * self.std_error
        low, high = self.value - half, self.value + half
        if self.subsets is None:
            return low, high
        return min(low, self.subsets.bound(tail, 1)), max(high, self.subsets.bound(tail, -1))

    def p_beyond(self, edge: float, side: Literal[1, -1]) -> float:
        """One-sided p of "the truth lies above the edge" (side 1) or below it (side -1)."""
        distance = side * (self.value - edge)
        if not self.df:
            return 1.0
        if not self.std_error:
            return 1 / self.arrangements(self.num) if distance > self.rounding else 1.0
        p = float(stdtr(self.df, -distance / self.std_error))
        return p if self.subsets is None else max(p, self.subsets.p_beyond(edge, side))

    def p_different(self, ask: _Question) -> float:
        return min(1.0, 2 * min(self.p_beyond(ask.threshold, 1), self.p_beyond(ask.threshold, -1)))

    def p_equivalent(self, ask: _Question) -> float:
        low, high = ask.threshold - ask.reach, ask.threshold + ask.reach
        return max(self.p_beyond(low, 1), self.p_beyond(high, -1))


def _mean(values: np.ndarray, rounding: float) -> _Estimate:
    value, variance, n = float(values.mean()), _variance(values, rounding), values.size
    effect = value / math.sqrt(variance) if variance else None
    return _Estimate(value, math.sqrt(variance / n), n - 1, n, effect, rounding, _signs)


def _paired_mean(values: np.ndarray, rounding: float) -> _Estimate:
    """The mean of paired differences, which the sign-flip test guards where they take few distinct values."""
    mean, steps = _mean(values, rounding), np.diff(np.sort(values)) > rounding
    is_lumpy = 0 < steps.sum() < values.size // 2  # one distinct value more than steps
    return replace(mean, subsets=_Subsets.of(values, rounding)) if is_lumpy else mean


def _signs(n: int) -> int:
    return 2**n


def _splits(share: float, n: int) -> int:
    return math.comb(n, round(n * share))


@dataclass(frozen=True)
class _Subsets:
    """The means of all subsets of the replicates, lowest first, and how many subsets lie below each.

    To flip the signs of values about an edge makes their sum no larger if and only if those that are flipped have a
    mean above it. So the one-sided p of the sign-flip test for "the truth lies above the edge" is the share of subsets
    whose mean is not above it, the empty one included: its interval ends at a mean of a subset.
    """

    means: np.ndarray
    weights: np.ndarray
    empty: float  # what the empty subset weighs: it lies on either side of every edge
    rounding: float

    @classmethod
    def of(cls, values: np.ndarray, rounding: float, seed: int = 0) -> _Subsets:
        ordered = np.sort(values)
        starts = np.flatnonzero(np.concatenate([[True], np.diff(ordered) > rounding]))
        distinct, counts = ordered[starts], np.diff(np.append(starts, values.size))
        if math.prod((counts + 1).tolist()) <= EXACT_SUBSETS:
            totals, sizes, weights = np.zeros(1), np.zeros(1), np.ones(1)
            for value, count in zip(distinct, counts, strict=True):
                taken = np.arange(count + 1)
                share = np.array([math.comb(count, k) for k in taken]) / 2.0**count
                totals = (totals[:, None] + value * taken).ravel()
                sizes = (sizes[:, None] + taken).ravel()
                weights = (weights[:, None] * share).ravel()
        else:
            generator = np.random.Generator(np.random.Philox(key=seed))
            taken = generator.binomial(counts, 0.5, size=(DRAWN, counts.size))
            # One more than was drawn: what was observed, which flips nothing (Phipson and Smyth 2010).
            totals, sizes = np.append(taken @ distinct, 0.0), np.append(taken.sum(1), 0)
            weights = np.full(DRAWN + 1, 1 / (DRAWN + 1))
        full = sizes > 0
        means = totals[full] / sizes[full]
        order = np.argsort(means)
        return cls(means[order], weights[full][order], float(weights[~full].sum()), rounding)

    def p_beyond(self, edge: float, side: Literal[1, -1]) -> float:
        near = side * (self.means - edge) <= self.rounding
        return min(1.0, self.empty + float(self.weights[near].sum()))

    def bound(self, tail: float, side: Literal[1, -1]) -> float:
        """The end of the interval that leaves `tail` beyond it: below for side 1, above for -1."""
        means, weights = (self.means, self.weights) if side == 1 else (self.means[::-1], self.weights[::-1])
        # The share of subsets up to each mean, that mean's ties included by the order.
        reached = np.flatnonzero(self.empty + np.cumsum(weights) >= tail)
        return -side * math.inf if self.empty >= tail else float(means[reached[0]])


@dataclass(frozen=True)
class _Basis:
    """What a comparison is judged by, at whatever share of alpha.

    Arguments:
      p_holm: the adjusted p of all arms, of the difference and of equivalence; None for a comparison of its own.
      own: the place of this arm among them.
      is_one_table: whether more replicates would decide nothing.
    """

    ask: _Question
    estimate: _Estimate
    differences: np.ndarray | None = None
    p_holm: tuple[np.ndarray, np.ndarray] | None = None
    own: int = 0
    is_one_table: bool = False

    def alphas(self, step: int = 1) -> tuple[float, float]:
        """The levels of the 1 - alpha and the 1 - 2 alpha interval, with Holm over arms, at alpha/step."""
        alpha = self.ask.alpha / step
        if self.p_holm is None:
            return alpha, alpha
        steps = [max(1, p.size - int((p < alpha).sum())) for p in self.p_holm]
        return alpha / steps[0], alpha / steps[1]

    def intervals(self, step: int = 1) -> tuple[tuple[float, float], tuple[float, float]]:
        alpha, alpha_tost = self.alphas(step)
        return self.estimate.interval(alpha / 2), self.estimate.interval(alpha_tost)

    def verdict(self, step: int = 1) -> Verdict:
        return self.ask.verdict(*self.intervals(step))


def _resampled(owner: str, terms: dict[str, tuple[int, ArrayLike]], ratio: float) -> _Estimate:
    if not 0 < ratio < math.inf:
        rule = "must be positive and finite"
        raise InvalidInput(f"{owner}.test_train_ratio", rule, ratio, "It is 1/(k - 1) for k folds")
    mean = _mean(*_contrast(owner, terms))
    return replace(mean, std_error=mean.std_error * math.sqrt(1 + mean.num * ratio))


def _judge_contrast(ask: _Question, terms: dict[str, tuple[int, ArrayLike]]) -> Comparison:
    values, rounding = _contrast(ask.owner, terms)
    return _judge(_Basis(ask, _paired_mean(values, rounding), values))


def _judge_arms(
    ask: _Question,
    values_by_arm: Mapping[str, ArrayLike],
    baseline: str,
    choose: Callable[[dict[str, float]], list[str]],
) -> dict[str, Comparison]:
    """Judge the arms that `choose` picks by their mean differences, at the level that Holm sets over all."""
    if baseline not in values_by_arm:
        raise UnknownName(f"{ask.owner}.baseline", baseline, values_by_arm)
    if len(values_by_arm) == 1:
        rule = "must hold an arm beside the baseline"
        raise InvalidInput(f"{ask.owner}.values_by_arm", rule, list(values_by_arm))
    base = (f"values_by_arm[{baseline!r}]", (-1, values_by_arm[baseline]))
    samples = {
        arm: _contrast(ask.owner, dict([base, (f"values_by_arm[{arm!r}]", (1, values))]))
        for arm, values in values_by_arm.items()
        if arm != baseline
    }
    estimates = {arm: _paired_mean(*sample) for arm, sample in samples.items()}
    p_holm = (
        holm([e.p_different(ask) for e in estimates.values()]),
        holm([e.p_equivalent(ask) for e in estimates.values()]),
    )
    places = {arm: place for place, arm in enumerate(estimates)}
    chosen = choose({arm: e.value for arm, e in estimates.items()})
    return {arm: _judge(_Basis(ask, estimates[arm], samples[arm][0], p_holm, places[arm])) for arm in chosen}


def _judge(basis: _Basis, step: int = 1) -> Comparison:
    """Put claim and estimate together, at alpha/step."""
    ask, estimate, differences = basis.ask, basis.estimate, basis.differences
    alpha, alpha_tost = basis.alphas(step)
    tails = (alpha / 2, alpha_tost)
    ci, inner = basis.intervals(step)
    reading, verdict, needed = ask.reading(ci, inner), ask.verdict(ci, inner), None
    by_t = replace(estimate, subsets=None)
    is_lumpy = verdict == "undecided" and replace(basis, estimate=by_t).verdict(step) != "undecided"
    if is_lumpy or basis.is_one_table:
        pass  # a number for normal replicates, or for independent ones, would be none for these
    elif verdict == "undecided" and estimate.method == "exact":
        needed = _least_number_without_spread(ask, estimate, tails)
    elif verdict == "undecided" and estimate.df:
        std_dev, lost = estimate.std_error * math.sqrt(estimate.num), estimate.num - estimate.df
        needed = _least_number(ask, estimate.value, std_dev, lost, estimate.num + 1, tails)
    p_holm = (None, None) if basis.p_holm is None else [float(p[basis.own]) for p in basis.p_holm]
    flips = None
    if differences is not None:
        flips = _sign_flip(differences - ask.threshold, estimate.rounding)
    reason = None
    if not estimate.df:
        reason = "spread-unknown"
    elif is_lumpy:
        reason = "few-values"
    elif verdict == "undecided" and basis.is_one_table:
        reason = "one-table"
    elif verdict == "undecided" and needed is None:
        reason = "on-the-edge"
    elif estimate.method == "exact":
        reason = "no-spread"
    elif flips and flips.note(ask.alpha):
        reason = "sign-flip-floor"
    equivalence = None
    if ask.margin is not None:
        low, high = map(_finite, inner)
        p = estimate.p_equivalent(ask)
        holds = replace(ask, claim="equivalent").verdict(ci, inner) == "holds"
        equivalence = Equivalence(ask.margin, p, p_holm[1], low, high, 1 - 2 * alpha_tost, holds)
    std_error = estimate.std_error if estimate.df else None
    (low, high), prob = (inner, 1 - 2 * alpha_tost) if ask.is_about_margin(reading) else (ci, 1 - alpha)
    deciding = Interval(
        estimate.value, std_error, _finite(low), _finite(high), prob, estimate.method, estimate.num
    )
    return Comparison(
        claim=ask.claim,
        threshold=ask.threshold,
        verdict=verdict,
        estimate=estimate.value,
        std_error=std_error,
        ci_low=_finite(ci[0]),
        ci_high=_finite(ci[1]),
        ci_prob=1 - alpha,
        ci_method=estimate.method,
        effect=estimate.effect,
        p=estimate.p_different(ask),
        p_method=estimate.method,
        p_holm=p_holm[0],
        p_sign_flip=flips.p if flips else None,
        sign_flip_floor=flips.floor if flips else None,
        equivalence=equivalence,
        num_replicates=estimate.num,
        replicates_needed=needed,
        reason=reason,
        reading=reading,
        deciding=deciding,
        basis=basis,
    )


def _sign_flip(values: np.ndarray, rounding: float, seed: int = 0) -> SignFlip:
    n, sizes = values.size, np.sort(np.abs(values))  # sorted: the order of the seeds must not matter
    # Flips that tie with what was observed are as extreme, even where rounding tells them apart.
    observed = abs(float(values.sum())) - n * rounding
    if n <= EXACT_SIGN_FLIPS:
        left, right = _signed_sums(sizes[: n // 2]), np.sort(_signed_sums(sizes[n // 2 :]))
        as_large = int((right.size - np.searchsorted(right, observed - left)).sum())
        return SignFlip(min(1.0, 2 * as_large / 2**n) if observed > 0 else 1.0, 2 / 2**n, "exact", n)
    bits, extreme, drawn = np.random.Philox(key=seed), 0, DRAWN
    block = max(1, 2**22 // n)  # keeps the signs of one block within 32 MiB
    for start in range(0, drawn, block):
        rows = min(block, drawn - start)
        words = bits.random_raw(math.ceil(rows * n / 64)).astype("<u8", copy=False)
        signs = 2.0 * np.unpackbits(words.view(np.uint8))[: rows * n].reshape(rows, n) - 1
        extreme += int((np.abs(signs @ sizes) >= observed).sum())
    return SignFlip((1 + extreme) / (1 + drawn), 2 * 0.5**n, "monte carlo", n)


def _signed_sums(sizes: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for size in sizes:
        sums = np.concatenate([sums + size, sums - size])
    return sums


@lru_cache(maxsize=4096)
def _observed_spreads(df: float) -> np.ndarray:
    """128 equally likely values of the observed standard deviation over the true one (a chi distribution)."""
    return np.sqrt(2 * gammaincinv(df / 2, (np.arange(128) + 0.5) / 128) / df)


def _probability_decided(
    ask: _Question, num: int, lost: float, truth: float, std_dev: float, tails: tuple[float, float]
) -> float:
    """How likely `num` replicates decide the claim, with num - lost degrees of freedom.

    Given the observed standard error, the undecided estimates form one or two intervals of known normal
    probability; this is averaged over what may be observed.
    """
    df, shift, true_error = num - lost, truth - ask.threshold, std_dev / math.sqrt(num)
    std_error = true_error * _observed_spreads(df)
    outer, inner = (-stdtrit(df, tail) * std_error for tail in tails)

    def lies_between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return np.maximum(ndtr((high - shift) / true_error) - ndtr((low - shift) / true_error), 0)

    if ask.claim == "greater":
        undecided = lies_between(np.maximum(ask.reach - inner, -outer), outer)
    elif ask.claim == "less":
        undecided = lies_between(-outer, np.minimum(inner - ask.reach, outer))
    else:
        near = np.maximum(ask.reach - inner, 0)
        far = outer if ask.claim == "different" else ask.reach + inner
        undecided = lies_between(near, far) + lies_between(-far, -near)
    return 1 - float(undecided.mean())


def _least_number(
    ask: _Question,
    truth: float,
    std_dev: float,
    lost: float,
    start: int,
    tails: tuple[float, float],
    power: float = 0.8,
) -> int | None:
    def enough(num: int) -> bool:
        return _probability_decided(ask, num, lost, truth, std_dev, tails) >= power

    low, high = start - 1, start
    while not enough(high):
        if high >= MAX_REPLICATES:
            return None
        low, high = high, min(2 * high, MAX_REPLICATES)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _least_number_without_spread(
    ask: _Question, estimate: _Estimate, tails: tuple[float, float]
) -> int | None:
    for num in range(estimate.num + 1, estimate.num + 100):
        ci, inner = (estimate.interval(tail, num) for tail in tails)
        if ask.verdict(ci, inner) != "undecided":
            return num
    return None


def _contrast(owner: str, terms: dict[str, tuple[int, ArrayLike]]) -> tuple[np.ndarray, float]:
    """The signed sum of the terms, one value for each seed, and what rounding alone can do to it."""
    rows = {name: _row(f"{owner}.{name}", values) for name, (_, values) in terms.items()}
    first, num = next((name, row.size) for name, (row, _) in rows.items())
    for name, (row, _) in rows.items():
        if row.size != num:
            remedy = "Without shared seeds, use two_sample"
            rule = f"must have one value for each seed of {first} ({num})"
            raise InvalidInput(f"{owner}.{name}", rule, row.size, remedy)
    total = np.sum([sign * rows[name][0] for name, (sign, _) in terms.items()], axis=0)
    return total, max(rounding for _, rounding in rows.values())


def _crossed(owner: str, values: ArrayLike, num_examples: int | None) -> np.ndarray:
    """Finite float64 (seed, example); packed bits are unpacked."""
    given = np.asarray(values)
    if given.ndim != 2 or given.dtype.kind not in "biuf":
        raise InvalidInput(owner, "must be numbers or bits by seed and example", reprlib.repr(values))
    if num_examples is not None:
        if given.dtype != np.uint8 or given.shape[1] != math.ceil(num_examples / 8):
            rule = f"must be the packed bits of {num_examples} examples, {math.ceil(num_examples / 8)} bytes a seed"
            raise InvalidInput(owner, rule, f"{given.dtype} of shape {given.shape}")
        given = np.unpackbits(given, axis=1, count=num_examples)
    if min(given.shape) < 2:
        raise InvalidInput(owner, "must have at least 2 seeds and 2 examples", given.shape)
    crossed = given.astype(np.float64)
    if not np.isfinite(crossed).all():
        raise InvalidInput(owner, "must be finite", "a value that is not")
    return crossed


def _row(owner: str, values: ArrayLike) -> tuple[np.ndarray, float]:
    """Finite float64 (n,), and what rounding in the type they came in can do to a difference of values."""
    try:
        given = np.asarray(values)
        row = given.astype(np.float64) if given.dtype.kind in "biufO" else np.empty(0)  # None becomes NaN
        eps = float(np.finfo(given.dtype if given.dtype.kind == "f" else row.dtype).eps)
    except (TypeError, ValueError):
        row, eps = np.empty(0), 0.0
    if row.ndim != 1 or row.size == 0:
        rule = "must be one row of numbers, one for each seed, not empty"
        raise InvalidInput(owner, rule, reprlib.repr(values))
    bad = np.flatnonzero(~(np.abs(row) < 1e150))  # not only infinity: the squares must be finite too
    if bad.size:
        more = f" (and {bad.size - 1} more)" if bad.size > 1 else ""
        remedy = (
            "A diverged run has no final value: compare the share that diverged (proportion_interval), or"
            " score such runs by a rule fixed beforehand"
        )
        rule = "must be a finite number"
        raise InvalidInput(f"{owner}[{bad[0]}]{more}", rule, float(row[bad[0]]), remedy)
    return row, 16 * eps * float(np.abs(row).max())


def _variance(values: np.ndarray, rounding: float) -> float:
    return 0.0 if values.size == 1 or np.ptp(values) <= rounding else float(values.var(ddof=1))


def _check_prob(owner: str, prob: float) -> None:
    if not 0 < prob < 1:
        raise InvalidInput(owner, "must be in (0, 1)", prob)


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
