"""`make guards` names the tests that run a file."""

from __future__ import annotations

import inspect
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mlplab import errors

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("file", "tests"),
    [("rng.py", "tests/test_rng.py"), ("engine/draws.py", "tests/engine"), ("pages/pdf/fonts.py", "tests/book")],
)  # fmt: skip
def test_tests_mirror_the_house(file, tests):
    mirror = runpy.run_path(str(ROOT / "tests/guards.py"))["mirror"]
    assert ROOT / tests in mirror(ROOT / "src/mlplab" / file)


@pytest.mark.slow
def test_a_line_is_guarded_by_the_tests_that_run_it_and_by_no_other():
    lines, start = inspect.getsourcelines(errors.import_extra)
    line = start + next(place for place, text in enumerate(lines) if "import_module(" in text)
    done = subprocess.run(
        [sys.executable, "tests/guards.py", f"src/mlplab/errors.py:{line}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "tests.test_errors.test_an_extra_that_is_there_is_imported" in done.stdout
    assert "test_capitals_do_not_hide_the_nearest_name" not in done.stdout
