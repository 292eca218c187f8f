"""Problems whose densities, and so whose weights, are known."""

from __future__ import annotations

import numpy as np

from mlplab.rng import Stream


class Shimodaira:
    """Shimodaira 2000, section 5: source x ~ N(.5, .5²), target x ~ N(0, .3²), y = -x + x³ + N(0, .3²)."""

    mean_squared_weight = 2.3946
    source_line = (-0.25, 0.5)  # intercept and slope of least squares on the source, in the limit
    target_line = (0.0, -0.73)

    def __init__(self, num_rows: int, seed: int) -> None:
        stream = Stream(seed, "data")
        self.source = 0.5 + 0.5 * stream.normal((num_rows, 1))
        self.target = 0.3 * stream.normal((num_rows, 1))
        self.y = self.curve(self.source) + 0.3 * stream.normal(num_rows)
        self.y_target = self.curve(self.target) + 0.3 * stream.normal(num_rows)
        self.weights = self.ratio(self.source)

    @staticmethod
    def curve(x: np.ndarray) -> np.ndarray:
        return (-x + x**3)[:, 0]

    @staticmethod
    def ratio(x: np.ndarray) -> np.ndarray:
        """Of the target's density to the source's."""
        return (5 / 3 * np.exp(-(x**2) / 0.18 + (x - 0.5) ** 2 / 0.5))[:, 0]

    @staticmethod
    def risk_of_source_line() -> float:
        """The mean squared error, on the target, of the line that is best on the source; by Gauss and Hermite."""
        at, weights = np.polynomial.hermite_e.hermegauss(20)
        x = 0.3 * at
        error = (-x + x**3 - (-0.25 + 0.5 * x)) ** 2 + 0.09
        return float(weights @ error / weights.sum())
