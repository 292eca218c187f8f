"""4.4.4's risk, computed by Hermite polynomials, beside many examples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlplab.analysis.polynomial_curves import draw_problems
from mlplab.answers import ours

q = ours().exercise("4.4.4").module


@pytest.mark.parametrize("degree", [2, 3])
@pytest.mark.parametrize("noise_std", [0.0, 0.5])
def test_the_risk_is_what_many_new_examples_show(degree, noise_std):
    x, y = draw_problems("train", [0], 12, noise_std)
    w = q.fit(x[0], y[0], degree)
    new_x, new_y = draw_problems("test", range(20), 10_000, noise_std)
    squares = (np.polynomial.polynomial.polyval(new_x, w) - new_y).ravel() ** 2
    error = squares.std(ddof=1) / math.sqrt(squares.size)
    assert q.risk(w, noise_std) == pytest.approx(squares.mean(), abs=5 * error + 1e-20)


def test_the_true_weights_have_the_noise_as_their_risk():
    assert q.risk(q.fit(np.empty(0), np.empty(0), -1), 0.1) == pytest.approx(0.01, rel=1e-12)
    assert q.risk(q.fit(np.empty(0), np.empty(0), -1), 0.0) == 0
