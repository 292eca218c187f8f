"""The vocabulary of checks: each can hold, fail and leave open, and carries the numbers that it was told to."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab.answers import rounded
from mlplab.answers.checks import (
    all_below,
    beats,
    equivalent,
    greater,
    horizon_is_enough,
    interaction,
    interior_optimum,
    less,
    overfits,
)
from mlplab.errors import InvalidInput

NOISE = np.array([-0.02, 0.03, -0.01, 0.02, -0.03, 0.01])  # of mean 0
GAIN = 1.0 + NOISE
MARGIN = 0.1
RATIO = 0.25

CASES = {
    "greater": (greater(), GAIN, -GAIN),
    "greater-than": (greater(0.9), GAIN, GAIN - 0.3),
    "greater-over-folds": (greater(test_train_ratio=RATIO), GAIN, -GAIN),
    "greater-with-margin": (greater(margin=MARGIN), GAIN, NOISE),
    "less": (less(), -GAIN, GAIN),
    "less-than": (less(-0.9), -GAIN, 0.3 - GAIN),
    "less-with-margin": (less(margin=MARGIN), -GAIN, NOISE),
    "equivalent": (equivalent(margin=MARGIN), NOISE, GAIN),
    "equivalent-to": (equivalent(1.0, margin=MARGIN), GAIN, -GAIN),
    "equivalent-over-folds": (equivalent(margin=MARGIN, test_train_ratio=RATIO), NOISE, GAIN),
    "all-below": (all_below(1.5), GAIN, np.append(GAIN, 2.0)),
    "beats": (
        beats("a", "none", margin=MARGIN),
        {"a": GAIN, "none": NOISE[::-1]},
        {"a": NOISE[::-1], "none": GAIN},
    ),
    "overfits": (overfits(0.5), (GAIN, NOISE), (NOISE, GAIN)),
    "interior-optimum": (
        interior_optimum(less_is_better=True),
        {0.1: GAIN, 0.3: NOISE, 1.0: GAIN[::-1]},
        {0.1: GAIN, 0.3: NOISE, 1.0: NOISE[::-1] - 1},
    ),
    "horizon-is-enough": (
        horizon_is_enough(MARGIN, less_is_better=False),
        (GAIN, GAIN[::-1]),
        (GAIN, GAIN[::-1] + 2 * MARGIN),
    ),
    "interaction": (interaction("greater"), (GAIN, NOISE, NOISE, NOISE), (NOISE, NOISE, NOISE, GAIN * -1)),
}


@pytest.mark.parametrize(("check", "truth", "falsehood"), CASES.values(), ids=CASES)
def test_a_check_holds_on_a_truth_and_fails_on_a_falsehood(check, truth, falsehood):
    assert check(truth).verdict == "holds"
    assert check(falsehood).verdict == "fails"


@pytest.mark.parametrize(
    "check", [greater(), less(), equivalent(margin=0.001)], ids=["greater", "less", "same"]
)
def test_noise_leaves_a_check_undecided(check):
    assert check(NOISE).verdict == "undecided"


def test_folds_share_rows_and_decide_less_than_seeds():
    values = 0.025 + NOISE
    assert greater()(values).verdict == "holds"
    assert greater(test_train_ratio=RATIO)(values).verdict == "undecided"


def test_a_stricter_level_decides_less():
    values = 0.025 + NOISE
    assert greater(alpha=0.001)(values).verdict == "undecided"


def test_a_check_carries_its_margin_unless_numbers_are_given():
    assert greater(margin=MARGIN)(GAIN).numbers == {"margin": MARGIN}
    assert equivalent(margin=MARGIN)(NOISE).numbers == {"margin": MARGIN}
    assert beats("a", "none", margin=MARGIN)({"a": GAIN, "none": NOISE}).numbers == {"margin": MARGIN}
    assert greater()(GAIN).numbers == {}
    assert equivalent(margin=MARGIN, numbers={})(NOISE).numbers == {}
    assert greater(numbers={"step": 0.1, "top": lambda values: float(values.max())})(GAIN).numbers == {
        "step": 0.1,
        "top": 1.03,
    }
    assert all_below(2.0)(GAIN).largest == 1.03


def test_a_fraction_is_rounded_to_significant_digits_and_all_else_stays():
    assert [rounded(value) for value in (1234.5678, 1.23456789e-5, np.float64(1 / 3))] == [
        1234.57, 1.23457e-5, 0.333333,
    ]  # fmt: skip
    assert type(rounded(np.float32(0.1))) is float
    assert rounded(np.float32(0.1)) == 0.1
    assert rounded(2 / 3, 2) == 0.67
    assert [rounded(value) for value in (1234567, "1.23456789", None)] == [1234567, "1.23456789", None]


@pytest.mark.parametrize(
    "shape", [(2.0, 1.0, 0.0, 1.0, 2.0), (2.0, 1.0, 0.0, 1.0, np.nan)], ids=["ends", "diverges"]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_bowl_has_its_best_inside_whichever_way_it_is_turned(shape, sign):
    grid = {10.0**i: sign * (height + np.roll(NOISE, i)) for i, height in enumerate(shape)}
    found = interior_optimum(less_is_better=sign > 0)(grid)
    assert (found.verdict, found.best, found.share_inside) == ("holds", 100.0, 1.0)


def test_the_highest_of_noisy_cells_is_no_measured_place():
    """Levels that do not differ: the best mean is inside two times in three, and shown there hardly ever."""
    rng = np.random.default_rng(0)
    check = interior_optimum(less_is_better=True)
    found = [check(dict(enumerate(rng.normal(size=(6, 8))))) for _ in range(200)]
    assert np.mean([0 < one.best < 5 for one in found]) > 0.5
    assert np.mean([one.verdict == "holds" for one in found]) < 0.05
    assert 0.5 < np.mean([one.share_inside for one in found]) < 0.9


def test_a_best_that_lies_at_the_edge_and_may_go_on_is_no_interior_optimum():
    grid = {level: np.full(6, -level) + NOISE for level in (1.0, 2.0, 3.0, 3.001)}
    assert interior_optimum(less_is_better=True)(grid).verdict != "holds"


@pytest.mark.parametrize(
    "grid",
    [{1.0: GAIN, 2.0: NOISE}, dict.fromkeys((1.0, 2.0, 3.0), np.full(6, np.nan))],
    ids=["two", "diverged"],
)
def test_a_grid_without_an_inside_or_a_result_is_refused(grid):
    with pytest.raises(InvalidInput, match="interior_optimum needs"):
        interior_optimum(less_is_better=True)(grid)
