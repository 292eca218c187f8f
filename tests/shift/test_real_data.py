"""Real data: houses by age, clothes with a class missing, a tilt, blur and brightness."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlplab import data
from mlplab.shift import BBSDDetector, C2STDetector, FeatureDetector, MMDDetector

pytestmark = pytest.mark.slow
REAL = Path(__file__).parents[2] / "benchmarks" / "shift_real.py"


@pytest.fixture(autouse=True)
def quiet():
    """Real tables are full of oddities, which are named elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    "detector",
    [FeatureDetector(), MMDDetector(), C2STDetector(num_drivers=0)],
    ids=["features", "MMD", "C2ST"],
)
def test_old_houses_differ_from_new_ones_and_a_coin_makes_no_difference(real_data, detector):
    cases = {name: (before, now) for name, before, now in runpy.run_path(str(REAL))["house_prices"]()}
    coin, years = cases.values()
    assert not detector.fit(coin[0]).test(coin[1]).is_shift
    found = detector.fit(years[0]).test(years[1])
    assert (
        found.p_value == pytest.approx(1 / 500)
        if isinstance(detector, MMDDetector)
        else found.p_value < 1e-50
    )


def test_changed_clothes_are_found(real_data):
    """A missing class and a tilt show in a model's predictions; blur and brightness in the pixels."""
    held = data.load("fashion-mnist")
    train = held.part("train")
    model = LogisticRegression(max_iter=40, tol=1e-2).fit(train.features[:4_000], train.targets[:4_000])
    cases = {name: (before, now) for name, before, now, _ in runpy.run_path(str(REAL))["images"]()}

    def by_predictions(name: str):
        before, now = (side.reshape(len(side), -1) for side in cases[f"Fashion-MNIST, {name}"])
        return BBSDDetector(model).fit(before).test(now)

    assert not by_predictions("nothing changed").is_shift
    assert by_predictions("no dresses").drivers[0].name == "3"
    assert by_predictions("no dresses").p_value < 0.01
    assert by_predictions("classes 0 to 4 at 0.6 of their share").is_shift
    pixels = MMDDetector(num_drivers=0)
    found = [pixels.fit(cases[name][0]).test(cases[name][1]).is_shift for name in cases if "brighter" in name]
    assert found[-3:] == [True] * 3
    assert (
        not pixels.fit(cases["Fashion-MNIST, nothing changed"][0])
        .test(cases["Fashion-MNIST, nothing changed"][1])
        .is_shift
    )
    assert len(found) == 5
    assert len([name for name in cases if "blur" in name]) == 5


def test_a_missing_class_of_real_images_is_found_with_p_below_one_in_a_million(real_data):
    held = data.load("fashion-mnist")
    train, test = held.part("train"), held.part("test")
    model = LogisticRegression(max_iter=40, tol=1e-2).fit(train.features[:4_000], train.targets[:4_000])
    rest = np.flatnonzero((test.targets != 3) & (np.arange(len(test.targets)) >= 1_000))[:1_000]
    found = BBSDDetector(model).fit(test.features[:1_000]).test(test.features[rest])
    assert found.p_value < 1e-6
    assert found.drivers[0].name == "3"
