"""Figures of the page on weights are the measured ones, and correctors say what is so on real data."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return runpy.run_path(str(ROOT / "benchmarks" / "shift_weights.py"))


def test_figures_of_the_page_are_the_measured_ones(benchmark):
    """Nobody types a figure: `python benchmarks/shift_weights.py page` writes them."""
    text = benchmark["PAGE"].read_text(encoding="utf-8")
    assert benchmark["filled"](text) == text
    with pytest.raises(LookupError, match="weights-error"):
        benchmark["filled"](text.replace("<!-- weights-error -->", ""))


@pytest.mark.parametrize("name", ["shimodaira", "two hills", "moved 2", "moved 10"])
def test_known_ratios_have_mean_1_over_the_source(benchmark, name):
    problem = benchmark["PROBLEMS"][name]
    ratios = [problem.ratio(problem.draw(benchmark["Stream"](seed, "data"))[0]) for seed in range(200)]
    assert np.mean(ratios) == pytest.approx(1, abs=0.05)
    assert benchmark["error"](ratios[0], ratios[0]) == 0
    assert benchmark["error"](np.ones(300), ratios[0]) == pytest.approx(1)


@pytest.mark.slow
def test_old_houses_cannot_stand_for_new_ones_and_every_corrector_says_so(benchmark, real_data):
    rows = benchmark["shift_weights_real"].houses()
    assert all("no-overlap" in row["warnings"] for row in rows if row["split"] != "gradual")
    assert all(row["advice"] == "do not correct" for row in rows if row["split"] != "gradual")
    gradual = {row["method"]: row["error"] for row in rows if row["split"] == "gradual"}
    assert gradual["ClassifierWeights"] < 1


@pytest.mark.slow
def test_tilted_shares_of_clothes_are_found(benchmark, real_data):
    rows = {row["method"]: row for row in benchmark["shift_weights_real"].fashion()}
    for name in ("BBSE", "EM"):
        assert rows[name]["largest_error"] < rows[name]["largest_error_unadapted"] / 3
        assert rows[name]["covered"] >= 8
        assert rows[name]["accuracy_adapted"] > rows[name]["accuracy"]
