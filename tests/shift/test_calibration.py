"""The level is what it says: false alarms over 4,000 repeats, and a test that is known to be false is caught.

That a fast count of false alarms is one of the detectors' own is a law too.
"""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

from mlplab import stats
from mlplab.rng import Stream

CONTENDERS = Path(__file__).parents[2] / "benchmarks" / "shift_contenders.py"
MOST = 0.057  # of 4,000 repeats at .05: two standard errors above


def false_alarms(name: str, repeats: int) -> int:
    """Rejections at .05 where both samples of 50 rows are N(0, I) in 10 dimensions."""
    test, found = runpy.run_path(str(CONTENDERS))["CONTENDERS"][name], 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(repeats):
            points = Stream(seed, "data").normal((100, 10))
            found += bool(test(points[:50], points[50:], seed) <= 0.05)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C2ST logistic", "MMD", "features", "BBSD scores"])
def test_false_alarms_are_at_most_what_the_level_says(name: str):
    assert false_alarms(name, 4_000) / 4_000 <= MOST


BATCHED = ("features", "BBSD scores", "BBSD classes", "MMD", "C2ST logistic", "C2ST mlp")


@pytest.mark.parametrize("name", BATCHED)
def test_many_repeats_together_give_the_p_values_of_the_detectors(name: str, monkeypatch):
    """The certificate counts what `shift_batched` finds: each of its batches against its class, seed by seed."""
    monkeypatch.syspath_prepend(str(CONTENDERS.parent))
    batches = runpy.run_path(str(CONTENDERS.parent / "shift_batched.py"))["BATCHES"]
    assert set(batches) == set(BATCHED)
    seeds = range(3 if name == "C2ST mlp" else 10)
    points = [Stream(seed, "data").normal((100, 10)) for seed in seeds]
    draws = [(each[:50], each[50:] + 0.2) for each in points]  # a little apart: p-values of all sizes
    test = runpy.run_path(str(CONTENDERS))["CONTENDERS"][name]
    alone = [test(*draw, seed) for draw, seed in zip(draws, seeds, strict=True)]
    assert len(set(alone)) > 1
    np.testing.assert_allclose(batches[name](draws, seeds), alone, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_pooled_out_of_fold_scores_are_caught_by_the_same_calibration():
    """Known to be false: about .10. The lower end of the interval of 1,000 repeats already lies above the bound."""
    share = stats.proportion_interval(false_alarms("false: pooled folds", 1_000), 1_000)
    assert share.ci_low is not None
    assert share.ci_low > MOST
    assert np.isfinite(share.estimate)
