"""Samples that tests of detectors share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlplab.rng import Stream


def normal(n: int, d: int, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    """N(0, I) with the first column moved by `shift`."""
    points = Stream(seed, "data").normal((n, d))
    points[:, 0] += shift
    return points


def mixed(n: int, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    """Numbers, categories, truth values, dates, and missing cells in each; `shift` moves the first of them all."""
    draw = Stream(seed, "data")
    age = draw.normal(n) + shift
    age[draw.uniform(n) < 0.1] = np.nan
    city = np.array(["Ames", "Boone", "Cork"], dtype=object)[np.minimum((3 * draw.uniform(n)).astype(int), 2)]
    city[draw.uniform(n) < 0.05] = None
    return pd.DataFrame(
        {
            "age": age,
            "rooms": np.round(3 + draw.normal(n)).astype(int),
            "city": city,
            "garden": draw.uniform(n) < 0.4,
            "sold": pd.Timestamp("2010-01-01") + pd.to_timedelta(np.round(1000 * draw.uniform(n)), unit="D"),
        }
    )
