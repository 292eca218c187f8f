"""4.5.5's changes of the data: what each remedy trains on is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab import data
from mlplab.answers import ours
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import MLP, Run, Setting, Training

q = ours().exercise("4.5.5").module


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def rows_of(part: data.Part) -> set[bytes]:
    return {row.tobytes() for row in part.features}


def test_a_larger_draw_contains_the_smaller_and_no_seed_draws_the_same(digits):
    few, more, other = (q.drawn(digits, num, seed) for num, seed in ((50, 3), (200, 3), (50, 4)))
    assert few.train.num_examples == 50
    assert rows_of(few.train) < rows_of(more.train) <= rows_of(digits.train)
    assert rows_of(few.train) != rows_of(other.train)
    assert few.test is digits.test
    assert len({few.fingerprint, more.fingerprint, other.fingerprint}) == 3


def test_augmentation_adds_images_moved_by_no_more_than_it_says(digits):
    problem = q.drawn(digits, 20, 0)
    grown = q.shifted(1)(problem)
    assert grown.train.num_examples == 20 * (q.COPIES + 1)
    np.testing.assert_array_equal(grown.train.features[:20], problem.train.features)
    for row, (image, target) in enumerate(zip(grown.train.features, grown.train.targets, strict=True)):
        original = problem.train.features[row % 20].reshape(8, 8)
        padded = np.pad(original, 1)
        moved = {padded[y : y + 8, x : x + 8].tobytes() for y in range(3) for x in range(3)}
        assert image.reshape(8, 8).tobytes() in moved
        assert target == problem.train.targets[row % 20]
    assert grown.validation is problem.validation


def test_projection_keeps_what_varies_most_in_the_training_images(digits):
    problem = q.drawn(digits, 100, 0)
    few = q.projected(5)(problem)
    x = problem.train.features - problem.train.features.mean(0)
    values = np.linalg.svd(x, compute_uv=False)
    np.testing.assert_allclose(np.square(few.train.features).sum(), np.square(values[:5]).sum(), rtol=1e-4)
    np.testing.assert_allclose(few.train.features.mean(0), 0, atol=1e-5)
    assert few.feature_shape == (5,)
    assert abs(few.validation.features.mean(0)).max() > 1e-3, (
        "with the axes and the mean of the training images"
    )


def test_the_mean_prediction_of_one_member_is_its_own(digits):
    problem = q.drawn(digits, 100, 0)
    run = Run(Setting(MLP((8,)), training=Training(epochs=3, batch_size=20)), problem.fingerprint, 0)
    (end,) = [end for end in train([run], problem) if isinstance(end, Result)]
    assert problem.test is not None
    outputs = q.mean_outputs([end], problem.test.features)
    found = float((outputs.argmax(1) == problem.test.targets).mean())
    assert found == pytest.approx(end.metrics["test_accuracy"], abs=1e-6)
    right = outputs[np.arange(len(outputs)), problem.test.targets]
    assert float(-np.log(right).mean()) == pytest.approx(end.metrics["test_loss"], rel=1e-5)


def test_a_smoothed_network_is_judged_by_the_labels_that_every_other_is_judged_by(digits):
    problem = q.drawn(digits, 100, 0)
    base = turn(Setting(MLP((8,)), training=Training(epochs=60, batch_size=20)), learning_rate=0.5)
    (end,) = [
        end
        for end in train([Run(turn(base, label_smoothing=0.3), problem.fingerprint, 0)], problem)
        if isinstance(end, Result)
    ]
    assert problem.test is not None
    outputs = q.mean_outputs([end], problem.test.features)
    right = outputs[np.arange(len(outputs)), problem.test.targets]
    to_labels = float(-np.log(right).mean())
    assert end.metrics["test_loss"] == pytest.approx(to_labels, rel=1e-6)
    to_smoothed = 0.7 * to_labels - 0.3 * float(np.log(outputs).mean())
    assert end.metrics["test_loss"] != pytest.approx(to_smoothed, rel=0.05)
