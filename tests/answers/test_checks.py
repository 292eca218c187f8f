"""The vocabulary of checks: each can hold, fail and leave open, and carries the numbers that it was told to."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab.answers import rounded
from mlplab.answers.checks import all_below, beats, equivalent, greater, interaction, less

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
