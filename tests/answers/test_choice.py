"""How answers choose: by validation data, with seeds that do not judge; and what the choosing itself costs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import Lab, ours

widths = ours().exercise("4.2.1").module
many = ours().exercise("4.2.5").module
choice = ours().module("choice")


def runs() -> pd.DataFrame:
    """Two depths, two rates, two seeds; the high rate diverges once at depth 2."""
    scores = {
        ("1", "0.1"): (0.8, 0.8),
        ("1", "1"): (0.9, 0.8),
        ("2", "0.1"): (0.7, 0.7),
        ("2", "1"): (0.95, math.nan),
    }
    return pd.DataFrame(
        [
            {"depth": depth, "rate": rate, "seed": seed, "validation_accuracy": score}
            for (depth, rate), pair in scores.items()
            for seed, score in enumerate(pair)
        ]
    )


def test_a_run_that_diverged_counts_as_guessing():
    assert choice.scored([0.5, math.nan]).tolist() == [0.5, choice.CHANCE]
    # Without its diverged run, the high rate would win at depth 2.
    assert choice.best(runs(), "rate", within="depth") == {"1": "1", "2": "0.1"}
    assert choice.best(runs(), "rate") == {"": "0.1"}


def test_seeds_that_choose_never_judge():
    for seeds in (1, 2, 30):
        lab = Lab("full", seeds=seeds)
        choosing, judging = choice.choosing_seeds(lab, quick=1, full=3), lab.seeds(quick=1, full=20)
        assert len(choosing) == min(3, seeds)
        assert not set(choosing) & set(judging)


def test_the_rule_picks_the_first_width_within_one_standard_error():
    spread = np.array([-0.01, 0.0, 0.01])  # standard error 0.01/√3 = 0.0058
    scores = np.array([[0.80], [0.895], [0.90], [0.899]]) + spread
    assert widths.one_standard_error(scores) == (2, 1)
    assert widths.one_standard_error(scores - np.array([[0], [0.01], [0], [0]])) == (2, 2)


@pytest.mark.parametrize(
    ("m", "exact"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))]
)
def test_the_expected_winner_has_its_known_values(m, exact):
    """David and Nagaraja 2003, Order Statistics, section 3.2."""
    assert many.expected_maximum(m) == pytest.approx(exact, abs=1e-9)


def test_one_at_a_time_finds_the_best_of_a_sum_and_not_of_a_product():
    rows, columns = np.arange(3.0)[:, None], np.array([0.0, 5.0, 2.0])
    assert many.one_at_a_time(rows + columns) == 0
    centred = (rows - 1) * np.array([-1.0, 0.0, 1.1])
    assert many.one_at_a_time(centred) > 0
