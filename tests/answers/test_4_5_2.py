"""4.5.2's paths, risks and powers beside the same by other ways."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab import data
from mlplab.answers import ours
from mlplab.rng import Stream

q1_lambda_curves = ours().exercise("4.5.1").module
q = ours().exercise("4.5.2").module


@pytest.fixture(scope="module")
def problem() -> data.Dataset:
    return data.load("linear-high-dim", num_train=100, noise_std=0.1, num_test=200, draw=3)


def test_a_path_holds_the_exact_solution_of_each_lambda(problem):
    weights, intercepts = q.ridge_path(*q.arrays(problem.train), np.array([0.01, 1.0, 30.0]))
    for at, weight_decay in enumerate((0.01, 1.0, 30.0)):
        w, b = q1_lambda_curves.solve_exactly(problem, weight_decay)
        np.testing.assert_allclose(weights[at], w, atol=1e-12)
        assert intercepts[at] == pytest.approx(b, abs=1e-12)


def test_the_exact_risk_is_what_many_new_examples_show(problem):
    path = q.ridge_path(*q.arrays(problem.train), np.array([0.1, 10.0]))
    x = Stream(1, "data").normal((20_000, problem.in_features))
    noise = problem.truth["noise_std"].item() * Stream(2, "data").normal(len(x))
    y = x @ problem.truth["weights"].ravel() + problem.truth["bias"].item() + noise
    seen = q.losses(x, y, *path)
    error = seen.std(0, ddof=1) / np.sqrt(len(x))
    assert (np.abs(seen.mean(0) - q.risks(problem, *path)) < 4 * error).all()  # 4 standard errors, of 1 %


def test_every_example_is_left_out_once_in_cross_validation():
    """With a huge λ a fold is predicted by the mean of the others: that is known without any solver."""
    y = np.arange(20.0)
    order = Stream(0, "split").permutation(20)
    left_out = {int(i): np.delete(y, fold).mean() for fold in np.array_split(order, 10) for i in fold}
    expected = np.mean([(y[i] - left_out[i]) ** 2 / 2 for i in range(20)])
    found = q.cross_validated(Stream(1, "data").normal((20, 3)), y, 0)
    assert q.LAMBDAS[-1] == pytest.approx(1000)
    assert found[-1] == pytest.approx(expected, rel=0.02)  # 1/1000 of the slope is left


def test_the_risk_grows_by_the_square_from_its_minimum_and_by_the_first_power_elsewhere(problem):
    risk = q.risks(problem, *q.ridge_path(*q.arrays(problem.train), q.LAMBDAS))
    best = q.path_at(int(np.argmin(risk)))
    assert q.growth(problem, best) == pytest.approx(2, abs=0.1)
    assert q.growth(problem, 10 * best) == pytest.approx(1, abs=0.3)
