"""4.2.1 compares widths at one price, and where training has come to its end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import Observations, ours

q = ours().exercise("4.2.1").module


def runs(reached: dict[str, float], seeds: int = 6) -> Observations:
    """Runs whose accuracies are known, by arm; all seeds differ by the same tenths of a point."""
    rows = [
        {"arm": arm, "seed": seed, "status": "finished", "test_accuracy": accuracy + 0.001 * (seed % 3)}
        | {"validation_accuracy": accuracy + 0.001 * (seed % 3) + 1e-4 * (seed % 2)}
        for arm, accuracy in reached.items()
        for seed in range(seeds)
    ]
    return Observations({"runs": pd.DataFrame(rows)})


def test_four_times_as_wide_and_four_times_as_long_cost_the_same():
    inputs, outputs = 784, 10
    for width in q.WIDTHS:
        # Forward; the gradients of both matrices and of the hidden units, and none of the input.
        assert q.step(width) == width * ((inputs + outputs) + (inputs + 2 * outputs))
    assert q.costs_follow_the_width(q.step).verdict == "holds"
    assert q.costs_follow_the_width(lambda width: q.num_parameters(784, width)).verdict == "fails"


def test_the_trade_is_between_arms_of_one_price():
    found = runs({"all 32 4": 0.87, "all 128 1": 0.86, "all 32 1": 0.84, "all 128 4": 0.9})
    assert q.longer_over_wider(found, 32) == pytest.approx(np.full(6, 0.01))


def test_epochs_are_too_few_only_if_the_width_that_gains_least_still_gains():
    reached = {"all 32 1": 0.86, "all 32 4": 0.863, "all 128 1": 0.86, "all 128 4": 0.89}
    found = runs(reached)
    assert q.longer_gains(found) == pytest.approx(np.full(6, 0.003))


def test_a_width_that_is_behind_is_judged_only_where_its_training_has_come_to_an_end():
    still_learning = {"few 8 1": 0.70, "further 8 1": 0.75, "few 32 1": 0.78, "further 32 1": 0.78}
    claims = {claim.name: claim for claim in q.ANSWER.claims}
    found = runs(still_learning)
    assert claims["trained-out-at-8"].examine(found).verdict == "fails"
    assert claims["trained-out-at-32"].examine(found).verdict == "holds"
    assert "trained-out-at-8" in claims["trained-out-eight-are-too-few"].requires
    assert claims["trained-out-eight-are-too-few"].examine(found).verdict == "holds"
