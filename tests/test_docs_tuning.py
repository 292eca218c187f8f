"""The pages on tuning and clusters say what is so: programs run, and figures are those of the kept results."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["TUNING", "CLUSTER"])
def test_figures_of_a_page_are_the_measured_ones(name: str):
    page = runpy.run_path(str(ROOT / "benchmarks/page.py"))
    text = page[f"{name}_PAGE"].read_text(encoding="utf-8")
    assert page["filled"](text, page[f"{name}_PARTS"]) == text


@pytest.mark.slow
def test_the_programs_of_the_tuning_page_run():
    programs = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/tuning.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(programs) == 2
    for code in programs:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout
