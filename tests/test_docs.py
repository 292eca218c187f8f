"""Docs say what is so: their programs run, and their figures are those of the kept results."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_programs_of_the_engines_page_run():
    """In a process of its own: one registers a noise."""
    programs = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/engine.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(programs) == 2
    code = "\n".join(programs) + "\nassert noise.kind == 'salt'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 256


def test_figures_of_the_engines_page_are_the_measured_ones():
    """Nobody types a figure: `python benchmarks/page.py` writes them."""
    page = runpy.run_path(str(ROOT / "benchmarks/page.py"))
    text = page["PAGE"].read_text(encoding="utf-8")
    assert page["filled"](text) == text
    with pytest.raises(LookupError, match="engine-cpu"):
        page["filled"](text.replace("<!-- engine-cpu -->", ""))
