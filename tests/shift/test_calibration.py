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


def draws(repeats: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two samples of 50 rows for each seed, both N(0, I) in 10 dimensions."""
    points = [Stream(seed, "data").normal((100, 10)) for seed in range(repeats)]
    return [(each[:50], each[50:]) for each in points]


@pytest.fixture
def batches(monkeypatch):
    """The detectors' p-values for many repeats together."""
    monkeypatch.syspath_prepend(str(CONTENDERS.parent))
    return runpy.run_path(str(CONTENDERS.parent / "shift_batched.py"))["BATCHES"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["C2ST logistic", "MMD", "features"])
def test_false_alarms_are_at_most_what_the_level_says(name: str, batches):
    """Of the batches that the test below holds to the detectors; that of BBSD on scores is that of the features."""
    found = np.asarray(batches[name](draws(4_000), range(4_000)))
    assert (found <= 0.05).mean() <= MOST


BATCHED = (
    "features",
    "BBSD scores",
    "MMD",
    "C2ST logistic",
    "C2ST mlp",
    "BBSD classes",
    "C2ST logistic, refit",
)
ENDS_EARLY = BATCHED[-2:]  # once a p-value is sure to be above the level


@pytest.mark.parametrize("name", BATCHED)
def test_many_repeats_together_give_the_p_values_of_the_detectors(name: str, batches):
    """The certificate counts what `shift_batched` finds: each of its batches against its class, seed by seed."""
    assert set(batches) == set(BATCHED)
    seeds = range(4 if name == "C2ST mlp" else 12)
    apart = np.eye(10)[0]  # every second draw is of samples that lie apart: p-values of all sizes
    some = [(one, other + 2 * (seed % 2) * apart) for seed, (one, other) in enumerate(draws(len(seeds)))]
    test = runpy.run_path(str(CONTENDERS))["CONTENDERS"][name]
    alone = np.asarray([test(*draw, seed) for draw, seed in zip(some, seeds, strict=True)])
    together = np.asarray(batches[name](some, seeds))
    low = alone <= 0.05
    assert 0 < low.sum() < len(low)
    assert ((together <= 0.05) == low).all()
    equal = low if name in ENDS_EARLY else np.ones_like(low)
    np.testing.assert_allclose(together[equal], alone[equal], rtol=0, atol=1e-12)
    assert (together <= alone + 1e-12).all()


@pytest.mark.slow
def test_pooled_out_of_fold_scores_are_caught_by_the_same_calibration():
    """Known to be false: about .10. The lower end of the interval of 500 repeats already lies above the bound."""
    test = runpy.run_path(str(CONTENDERS))["CONTENDERS"]["false: pooled folds"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alarms = sum(test(*draw, seed) <= 0.05 for seed, draw in enumerate(draws(500)))
    share = stats.proportion_interval(alarms, 500)
    assert share.ci_low is not None
    assert share.ci_low > MOST
    assert np.isfinite(share.estimate)
