"""Polynomial regression: exact solutions, conditioning, the largest stable rate, error curves."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev, legendre

from mlplab.analysis.polynomial import fit_polynomial
from mlplab.analysis.polynomial_basis import BASES, design_matrix, rank_and_condition
from mlplab.analysis.polynomial_conditioning import check_largest_rate, conditioning, largest_rate
from mlplab.analysis.polynomial_curves import draw_problems, error_curves, fit_all_degrees
from mlplab.data.synthetic import polynomial
from mlplab.errors import InvalidInput, MissingExtra, UnknownName

X = np.linspace(-1.0, 1.0, 41)


@pytest.fixture(scope="module")
def problem():
    x, y = draw_problems("train", [0], 100, 0.1)
    return x[0], y[0]


@pytest.fixture(scope="module")
def curves():
    return error_curves(range(13), (10, 20, 50), num_draws=500)


# Bases


@pytest.mark.parametrize(
    ("basis", "reference"),
    [
        ("monomial", lambda x, d: np.vander(x, d + 1, increasing=True)),
        ("factorial", lambda x, d: np.vander(x, d + 1, increasing=True) / [math.factorial(i) for i in range(d + 1)]),
        ("legendre", legendre.legvander),
        ("chebyshev", chebyshev.chebvander),
    ],
)  # fmt: skip
@pytest.mark.parametrize("degree", [0, 1, 2, 19])
def test_columns_are_the_basis_polynomials(basis, reference, degree):
    np.testing.assert_allclose(design_matrix(X, degree, basis), reference(X, degree), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("basis", BASES)
def test_fractions_stay_exact_and_batches_are_rows(basis):
    x = np.array([Fraction(1, 3), Fraction(-2, 7)], dtype=object)
    exact = design_matrix(x, 6, basis)
    assert all(isinstance(value, Fraction | int) for value in exact[:, 1:].flat)
    np.testing.assert_allclose(exact.astype(float), design_matrix(x.astype(float), 6, basis), rtol=1e-14)
    batch = design_matrix(X[:40].reshape(4, 10), 6, basis)
    np.testing.assert_array_equal(batch[2], design_matrix(X[20:30], 6, basis))


def test_a_tensor_with_a_gradient_is_taken_as_numbers():
    x = torch.tensor([0.5, 2.0], requires_grad=True)
    np.testing.assert_array_equal(design_matrix(x, 2), [[1, 0.5, 0.25], [1, 2, 4]])


def test_the_domain_is_mapped_on_minus_one_to_one():
    x = np.array([3.0, 4.0, 7.0])
    np.testing.assert_allclose(design_matrix(x, 1, domain=(3, 7))[:, 1], [-1, -0.5, 1])


# Exact solution


@pytest.mark.parametrize("basis", BASES)
def test_all_methods_agree_with_the_rational_solution(problem, basis):
    x, y = problem
    fits = [fit_polynomial(x, y, 6, basis, method=method) for method in ("qr", "svd", "rational")]
    for fit in fits[:2]:
        np.testing.assert_allclose(fit.weights, np.array(fits[2].weights, dtype=float), rtol=1e-9)
        assert fit.train_error == pytest.approx(fits[2].train_error, rel=1e-12)


def test_rational_weights_solve_the_normal_equations_without_rounding():
    x, y = [Fraction(k, 3) for k in range(6)], [Fraction(k * k, 7) + (-1) ** k for k in range(6)]
    fit = fit_polynomial(x, y, 3, method="rational")
    design = design_matrix(np.array(x, dtype=object), 3)
    residuals = design @ np.array(fit.weights, dtype=object) - np.array(y, dtype=object)
    assert (design.T @ residuals).tolist() == [0, 0, 0, 0]
    assert fit.train_error == float(sum(r * r for r in residuals) / 6)


def test_without_noise_the_cubic_is_found_exactly():
    x = [-2, -1, 0, 1, 3]
    y = [Fraction(5) + Fraction(6, 5) * k - Fraction(17, 10) * k**2 + Fraction(14, 15) * k**3 for k in x]
    fit = fit_polynomial(x, y, 4, "factorial", method="rational")
    # The chapter's 5, 1.2, -3.4, 5.6 before x^i/i!, and nothing of degree 4.
    assert fit.weights == (5, Fraction(6, 5), Fraction(-17, 5), Fraction(28, 5), 0)
    assert fit.train_error == 0


def test_bases_predict_the_same(problem):
    x, y = problem
    fits = [fit_polynomial(x, y, 6, basis).predict(X) for basis in BASES]
    for other in fits[1:]:
        np.testing.assert_allclose(other, fits[0], rtol=1e-9, atol=1e-9)


def test_too_few_distinct_inputs_are_refused_and_svd_takes_the_least_norm():
    x, y = [1.0, 1.0, 2.0], [1.0, 3.0, 5.0]
    for method, rule in (("qr", "rank 3"), ("rational", "3 distinct x")):
        with pytest.raises(InvalidInput, match=rule):
            fit_polynomial(x, y, 2, method=method)
    fit = fit_polynomial(x, y, 2, method="svd")
    np.testing.assert_allclose(fit.weights, np.linalg.pinv(np.vander(x, 3, increasing=True)) @ y, atol=1e-12)
    assert (fit.rank, fit.condition_number) == (2, math.inf)
    assert fit.train_error == pytest.approx(2 / 3)  # of 1 and 3 at one x, each is missed by 1
    assert fit.to_dict()["condition_number"] is None


@pytest.mark.slow
def test_what_float64_cannot_resolve_rationals_solve(problem):
    x, y = problem
    with pytest.raises(InvalidInput, match="rank 20 for unique weights; got 17"):
        fit_polynomial(x, y, 19, "factorial")
    exact = fit_polynomial(x[:25], y[:25], 19, "factorial", method="rational")
    assert len(exact.weights) == 20
    assert exact.train_error < 1e-2 * (1 - 20 / 25) * 3


# Conditioning and rates


def test_condition_numbers_are_those_of_the_matrices():
    for row in conditioning(X, [1, 4, 7]).rows:
        design = design_matrix(X, row.degree, row.basis)
        assert row.design_condition == pytest.approx(np.linalg.cond(design), rel=1e-10)
        assert row.gram_condition == pytest.approx(np.linalg.cond(design.T @ design), rel=1e-4)
        assert row.largest_feature == np.abs(design).max()


def test_the_factorial_tames_size_and_not_conditioning(problem):
    """4.4.3: it makes large rates possible; only an orthogonal basis on [-1, 1] makes few steps enough."""
    x, _ = problem
    raw = {row.basis: row for row in conditioning(x, 10).rows}
    inside = {row.basis: row for row in conditioning(x, 10, domain=(x.min(), x.max())).rows}
    assert raw["factorial"].largest_rate > 1e8 * raw["monomial"].largest_rate
    assert raw["factorial"].gram_condition > 0.5 * raw["monomial"].gram_condition
    assert inside["factorial"].gram_condition > 1e10 * inside["legendre"].gram_condition
    for basis in ("legendre", "chebyshev"):
        assert inside[basis].gram_condition < 1e-5 * raw["factorial"].gram_condition
        assert inside[basis].gram_condition < 1e-2 * inside["monomial"].gram_condition


def test_on_even_inputs_legendre_is_nearly_orthogonal():
    x = np.linspace(-1, 1, 2001)
    (row,) = conditioning(x, 5, ["legendre"]).rows
    assert row.gram_condition == pytest.approx(11, rel=0.02)  # mean of P_i² is 1/(2i+1): 1 against 1/11


@pytest.mark.parametrize("basis", BASES)
def test_just_below_the_largest_rate_descent_converges_and_just_above_diverges(problem, basis):
    x, y = problem
    design = design_matrix(x, 8, basis)
    check = check_largest_rate(design, y)
    assert check.holds
    assert check.below < 0.1 * check.start
    assert check.above > 1e10 * check.start


@pytest.mark.parametrize("scale", [0.99, 1.01])
def test_the_rate_is_that_of_torchs_sgd_on_its_mean_squared_error(problem, scale):
    x, y = problem
    design, y = torch.from_numpy(design_matrix(x, 4, "factorial")), torch.from_numpy(y)
    weights = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([weights], lr=scale * largest_rate(design.numpy()))
    losses = []
    for _ in range(1500):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(design @ weights, y)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert (losses[-1] < losses[0]) == (scale < 1)
    assert (losses[-1] > 1e6) == (scale > 1)


def test_a_singular_gram_matrix_has_no_condition_number(problem):
    x, _ = problem
    rows = {row.basis: row for row in conditioning(x, 19).rows}
    assert rows["factorial"].gram_condition is None
    assert conditioning(x[:5], 5, "monomial").rows[0].design_condition is None  # 6 weights, 5 examples
    assert conditioning(x[:6], 5, "monomial").rows[0].design_condition is not None


def test_logarithms_of_powers_have_rank_one():
    """4.4.3: log x^i = i log x, so that taking logs leaves one feature of many; and none where x < 0."""
    x = np.linspace(0.5, 3, 40)
    logs = np.log(design_matrix(x, 5)[:, 1:])
    assert rank_and_condition(logs) == (1, math.inf)
    assert rank_and_condition(design_matrix(x, 5)[:, 1:])[0] == 5


def test_more_weights_than_examples_are_never_unique():
    """4.4.1: exactly solvable from degree + 1 distinct inputs on; repeated ones do not count."""
    x = np.array([0.0, 1.0, 2.0, 2.0, 1.0])
    assert [rank_and_condition(design_matrix(x, degree))[0] for degree in (1, 2, 3, 4, 5)] == [2, 3, 3, 3, 3]


def test_under_noise_the_solution_is_exact_and_the_weights_are_not(problem):
    """4.4.1: the normal equations are solved; the chapter's 5, 1.2, -3.4, 5.6 are only estimated."""
    x, y = problem
    fit = fit_polynomial(x, y, 3, "factorial")
    design = design_matrix(x, 3, "factorial")
    assert np.abs(design.T @ (design @ fit.weights - y)).max() < 1e-10
    gap = np.array(fit.weights) - [5, 1.2, -3.4, 5.6]
    std_errors = 0.1 * np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    assert (np.abs(gap) > 1e-5).all()
    assert (np.abs(gap) < 4 * std_errors).all()


def test_a_huge_feature_has_a_tiny_rate_and_no_overflow():
    (row,) = conditioning([1e3, 2e3], np.int64(60), "monomial").rows
    assert row.largest_rate == pytest.approx(2 / 2e3**60 / 2e3**60, rel=1e-9, abs=0)


# Curves


def test_draws_are_those_of_the_data_set():
    data = polynomial(num_train=30, num_test=20, degree=3, noise_std=0.2, draw=4)
    for part, size in (("train", 30), ("test", 20)):
        x, y = draw_problems(part, [3, 4], size, 0.2)
        np.testing.assert_allclose(x[1], getattr(data, part).features[:, 1], rtol=1e-6)
        np.testing.assert_allclose(y[1], getattr(data, part).targets[:, 0], rtol=1e-5)


def test_one_batched_factorisation_equals_a_loop_of_lstsq():
    degrees = (0, 1, 3, 6, 9)
    x, y = draw_problems("train", range(20), 40, 0.1)
    test_x, _ = draw_problems("test", range(20), 15, 0.1)
    design, at_test = (design_matrix(at, 9, "legendre", domain=(-4, 4)) for at in (x, test_x))
    train, test = fit_all_degrees(*map(torch.from_numpy, (design, y, at_test)), degrees)
    for draw in range(20):
        for j, degree in enumerate(degrees):
            used = design[draw, :, : degree + 1]
            weights = np.linalg.lstsq(used, y[draw], rcond=None)[0]
            # Condition numbers reach 1e6: ten digits stay.
            np.testing.assert_allclose(train[draw, :, j], used @ weights, rtol=1e-8, atol=1e-8)
            np.testing.assert_allclose(
                test[draw, :, j], at_test[draw, :, : degree + 1] @ weights, rtol=1e-7, atol=1e-7
            )


def test_errors_are_those_of_the_rational_solution():
    found = error_curves([2, 7], [15, 30], num_draws=3, num_test=10)
    x, y = draw_problems("train", [2], 30, 0.1)
    test_x, test_y = draw_problems("test", [2], 10, 0.1)
    for i, size in enumerate((15, 30)):
        for j, degree in enumerate((2, 7)):
            fit = fit_polynomial(x[0, :size], y[0, :size], degree, method="rational")
            assert found.train[2, i, j] == pytest.approx(fit.train_error, rel=1e-8)
            assert found.test[2, i, j] == pytest.approx(
                np.mean((fit.predict(test_x[0]) - test_y[0]) ** 2), rel=1e-6
            )


def test_training_error_never_rises_with_the_degree_and_is_none_from_n_minus_1(curves):
    assert (np.diff(curves.train, axis=-1) <= 1e-12).all()
    assert (curves.train[:, 0, 9:] < 1e-15).all()  # 10 examples
    assert (curves.train[:, 1] > 1e-8).all()


def test_mean_training_error_is_what_theory_says(curves):
    """E = σ²(1 - (d+1)/n) from degree 3 up; 4 standard errors, over 30 correlated cells."""
    rows = curves.table()
    rows = rows[(rows["statistic"] == "mean") & rows["expected"].gt(0)]
    assert len(rows) == 6 + 10 + 10
    gap = (rows["estimate"] - rows["expected"]).abs() / rows["std_error"].astype(float)
    assert gap.max() < 4
    assert rows.iloc[0]["expected"] == pytest.approx(0.01 * (1 - 4 / 10))


def test_test_error_is_u_shaped_and_falls_with_more_examples(curves):
    middle = np.exp(np.log(curves.test).mean(0))
    assert middle.argmin(1).tolist() == [3, 3, 3]
    assert (np.diff(middle[:, 3]) < 0).all()
    assert (np.diff(middle[1, 3:]) > 0).all()


def test_the_error_is_nothing_without_noise_and_never_less_than_the_noise_with_it():
    """4.4.4: the risk is at least the noise's variance, and 0 only where there is none and the cubic can be found."""
    exact, noisy = (error_curves([2, 3, 4], [50], num_draws=200, noise_std=std) for std in (0.0, 0.1))
    assert exact.test[:, 0, 1:].max() < 1e-18
    assert exact.test[:, 0, 0].min() > 1e-3
    assert noisy.test[:, 0, 1].mean() > 0.01


def test_a_draw_does_not_depend_on_the_others_nor_on_other_sizes():
    many = error_curves([3, 12], [10, 20], num_draws=40)
    few = error_curves([3, 12], [20], num_draws=3)
    np.testing.assert_allclose(few.test[:, 0], many.test[:3, 1], rtol=1e-6)


def test_beyond_n_the_weights_are_those_of_least_norm():
    x, y = draw_problems("train", range(2), 5, 0.1)
    design = design_matrix(x, 8, "legendre", domain=(-4, 4))
    train, test = fit_all_degrees(*map(torch.from_numpy, (design, y, design)), (8,))
    expected = np.stack([d @ np.linalg.pinv(d) @ t for d, t in zip(design, y, strict=True)])
    np.testing.assert_allclose(train[..., 0], expected, atol=1e-8)
    np.testing.assert_allclose(test[..., 0], expected, atol=1e-8)


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: design_matrix([], 2), "finite real numbers, at least one"),
        (lambda: design_matrix([1.0, math.nan], 2), "finite real numbers"),
        (lambda: design_matrix(["a"], 2), "finite real numbers"),
        (lambda: design_matrix([[1.0], [1.0, 2.0]], 2), "finite real numbers"),
        (lambda: design_matrix([1j], 2), "finite real numbers"),
        (lambda: design_matrix([10**400], 2), "finite real numbers"),
        (lambda: largest_rate(np.zeros((3, 2))), "must not be zero"),
        (lambda: design_matrix(X, -1), "degree must be a whole number from 0 to 100"),
        (lambda: design_matrix(X, 1.5), "whole number"),
        (lambda: design_matrix([1e30], 40), "range of float64"),
        (lambda: design_matrix(X, 2, "legendrе"), "Did you mean 'legendre'"),
        (lambda: design_matrix(X, 2, domain=(1, 1)), "the lower first"),
        (lambda: fit_polynomial(X, X[:5], 2), "an x for each y; got '41 and 5'"),
        (lambda: fit_polynomial(X, X, 2, method="qrr"), "Did you mean 'qr'"),
        (lambda: fit_polynomial(X[:, None], X, 2), "must have 1 axis"),
        (lambda: conditioning(X, []), "needs a degree and a basis"),
        (lambda: check_largest_rate(np.ones((3, 2)), [1.0, 2.0]), "must have 3 numbers"),
        (lambda: check_largest_rate(np.ones((3, 2)), [1.0, 2.0, 3.0], margin=1.0), "in \\(0, 1\\)"),
        (lambda: error_curves([], [10]), "at least one"),
        (lambda: error_curves([3, 3], [10]), "different whole numbers"),
        (lambda: error_curves([3], [0]), "whole number from 1"),
        (lambda: error_curves([3], [10], num_draws=1), "whole number from 2"),
        (lambda: error_curves([3], [10], noise_std=-1.0), "0 or above"),
        (lambda: error_curves([100], [100], num_draws=5), "smaller largest degree"),
    ],
)
def test_bad_input_gets_one_clear_line(call, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_unknown_names_are_unknown_names():
    with pytest.raises(UnknownName):
        conditioning(X, 3, ["hermite"])


# Results


def test_results_are_json_and_tables(problem, curves):
    x, y = problem
    fit = fit_polynomial([0, 1, 3], [1, 2, 4], 1, method="rational")
    assert fit.table()["exact"].tolist() == ["1", "1"]
    for result in (fit, fit_polynomial(x, y, 3), conditioning(x, [3, 19]), curves):
        json.dumps(result.to_dict(), allow_nan=False)
        assert len(result.table()) > 0
    assert conditioning(x, [3, 19]).table().columns[0] == "basis"


def test_pictures_can_be_drawn(problem, curves):
    x, y = problem
    try:
        charts = [fit_polynomial(x, y, 3).plot(), conditioning(x, [3, 6]).plot(), curves.plot()]
    except MissingExtra:
        pytest.skip("altair is not installed")
    assert all("title" in chart.to_dict() for chart in charts)
