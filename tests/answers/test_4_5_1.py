"""4.5.1's linear algebra beside the same in plain NumPy, written another way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab import data
from mlplab.answers import Observations, ours
from mlplab.rng import Stream

q = ours().exercise("4.5.1").module


@pytest.fixture(scope="module")
def problem() -> data.Dataset:
    return data.load("linear-high-dim", draw=3)


def train_arrays(problem: data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    part = problem.train
    return part.features.astype(np.float64), part.targets[:, 0].astype(np.float64)


@pytest.mark.parametrize("weight_decay", [decay for decay in q.LAMBDAS if decay > 0])
def test_the_exact_solution_solves_the_normal_equations(problem, weight_decay):
    """(X'X + nλ I) w = X'y on centred data, as the intercept is not penalised."""
    x, y = train_arrays(problem)
    centred = x - x.mean(0)
    left = centred.T @ centred + len(x) * weight_decay * np.eye(x.shape[1])
    w = np.linalg.solve(left, centred.T @ (y - y.mean()))
    found, intercept = q.solve_exactly(problem, weight_decay)
    np.testing.assert_allclose(found, w, atol=1e-10)
    assert intercept == pytest.approx(y.mean() - x.mean(0) @ w, abs=1e-10)


def test_without_decay_the_exact_solution_is_the_shortest_that_fits(problem):
    x, y = train_arrays(problem)
    w, intercept = q.solve_exactly(problem, 0.0)
    np.testing.assert_allclose(x @ w + intercept, y, atol=1e-10)
    centred = x - x.mean(0)
    # Centred rows add up to 0: they have one direction less than examples, and none may be made up in it.
    assert np.linalg.matrix_rank(centred) == len(x) - 1
    np.testing.assert_allclose(w, np.linalg.lstsq(centred, y - y.mean(), rcond=1e-10)[0], atol=1e-10)


def test_without_decay_is_the_limit_of_little_decay(problem):
    np.testing.assert_allclose(q.solve_exactly(problem, 0.0)[0], q.solve_exactly(problem, 1e-9)[0], atol=1e-9)


def test_the_exact_solution_minimises_the_sections_objective(problem):
    """Half the mean squared error plus λ/2 ‖w‖²: λ means the same as in the trained arms."""
    x, y = train_arrays(problem)
    w, b = q.solve_exactly(problem, q.CHAPTER_LAMBDA)

    def objective(w: np.ndarray, b: float) -> float:
        return float(np.square(x @ w + b - y).mean() / 2 + q.CHAPTER_LAMBDA / 2 * (w @ w))

    for step in 1e-3 * Stream(0, "data").normal((20, len(w))):
        assert objective(w, b) < objective(w + step, b)
    assert objective(w, b) < min(objective(w, b + 1e-3), objective(w, b - 1e-3))


def test_the_unseen_part_is_the_projection_on_the_null_space(problem):
    x, _ = train_arrays(problem)
    w = Stream(1, "data").normal(x.shape[1])
    q_of_rows = np.linalg.qr(x.T)[0]
    unseen = q.project_out(x, w)
    np.testing.assert_allclose(unseen, w - q_of_rows @ (q_of_rows.T @ w), atol=1e-12)
    np.testing.assert_allclose(x @ unseen, 0, atol=1e-10)
    np.testing.assert_allclose(q.project_out(x, unseen), unseen, atol=1e-12)


def test_the_exact_risk_is_what_many_test_points_show(problem):
    size = problem.in_features
    true_w, true_b = problem.truth["weights"].ravel(), problem.truth["bias"].item()
    noise_std = problem.truth["noise_std"].item()
    # Errors of weights, bias and noise of about one size: none of them hides behind another.
    w, b = true_w + noise_std / np.sqrt(size) * Stream(2, "data").normal(size), true_b + noise_std
    row = q._row("zero", 1.0, 0, problem, w, b)
    squares = []
    for step in range(20):
        x = Stream(3, "data", step=step).normal((5000, size))
        noise = noise_std * Stream(4, "data", step=step).normal(5000)
        squares.append(np.square(x @ w + b - (x @ true_w + true_b + noise)))
    squared = np.concatenate(squares) / 2
    error = squared.std(ddof=1) / np.sqrt(squared.size)
    assert row["risk"] == pytest.approx(squared.mean(), abs=4 * error)  # 4 standard errors, of about 0.4 %
    assert 0 < row["unseen_risk"] < row["risk"]


def test_losses_are_half_the_mean_squared_error(problem):
    w, b = q.solve_exactly(problem, 1.0)
    x, y = problem.test.features.astype(np.float64), problem.test.targets[:, 0].astype(np.float64)
    assert q._row("exact", 1.0, 0, problem, w, b)["test_loss"] == pytest.approx(
        np.square(x @ w + b - y).mean() / 2, rel=1e-6
    )


def paths(seeds: int = 20) -> Observations:
    """A made-up world: the section's gain is 95 % unseen, the other paths change by 1 %, and are little better than
    knowing nothing."""
    rows = []
    jitter = Stream(5, "data").normal(seeds)
    risks = {("section", 0.0): (100.0, 90.0), ("section", 3.0): (10.0, 4.5)}
    risks |= {("zero", 0.0): (1.0, 0.5), ("zero", 3.0): (0.99, 0.5)}
    risks |= {("exact", decay): (0.99 if decay == 3 else 1.0, 0.5) for decay in q.LAMBDAS}
    for seed in reversed(range(seeds)):  # the order of rows must not matter
        for (path, decay), (risk, unseen) in risks.items():
            factor = 1 + 0.01 * jitter[seed]
            row = {"path": path, "weight_decay": decay, "seed": seed, "risk": risk * factor}
            loss = {"train_loss": 0.0 if decay == 0 else 0.01 * factor, "test_loss": risk * factor}
            rows.append(row | loss | {"unseen_risk": unseen * factor})
    nothing = [
        {"seed": seed, "mean": 1.05 * (1 + 0.01 * jitter[seed]), "truth": 0.01} for seed in range(seeds)
    ]
    return Observations({"paths": pd.DataFrame(rows), "nothing": pd.DataFrame(nothing)})


EXPERIMENTS = [claim for claim in q.ANSWER.claims if claim.kind == "experiment"]


@pytest.mark.parametrize("claim", EXPERIMENTS, ids=lambda claim: claim.name)
def test_claims_find_the_truth_and_reject_the_falsehood(claim):
    seen = paths()
    assert claim.examine(seen).verdict == "holds"
    assert claim.control(seen).verdict == "fails"


def test_shares_and_gains_are_by_seed():
    seen = paths()
    np.testing.assert_allclose(q.share_of_start(seen), 0.95)
    np.testing.assert_allclose(q.relative_gain(seen, "zero"), 0.01)
