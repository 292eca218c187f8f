"""Docs say what is so: their programs run, and their figures are those of the kept results."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlplab.answers import ours
from mlplab.inquiry import evidence
from mlplab.inquiry.texts import render

ROOT = Path(__file__).parents[1]
TOOLS = (
    "activations", "curvature", "diagnose", "graph", "memory", "nn", "partition", "piecewise", "polynomial", "shift",
    "shift-weights", "signals",
    "symmetry",
)  # fmt: skip
# An amount of memory is one with its unit: a peak may pass the next unit on another machine.
AMOUNT = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?(%| [KMGT]?i?B\b)?")


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_programs_of_the_page_on_extensions_run():
    text = (ROOT / "docs/extend.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(program, names)
    assert names["tuning"].strategy == "two_rungs"
    assert [part.name for part in names["PARTS"]] == ["subgradient"]


def test_figures_of_the_engines_page_are_the_measured_ones():
    """Nobody types a figure: `python benchmarks/page.py` writes them."""
    page = runpy.run_path(str(ROOT / "benchmarks/page.py"))
    text = page["PAGE"].read_text(encoding="utf-8")
    assert page["filled"](text) == text
    with pytest.raises(LookupError, match="engine-cpu"):
        page["filled"](text.replace("<!-- engine-cpu -->", ""))


def programs(page: str) -> list[tuple[str, str]]:
    """Commands and Python programs of a page, each with the output that it shows ("" for none)."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found: list[tuple[str, str]] = []
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if language == "python" or (not language and body.startswith(("mlplab ", "python "))):
            found.append((body, ""))
        elif body.startswith("$ "):  # a session of several processes, which tests of its own run
            continue
        elif language in ("", "latex") and found and not found[-1][1]:
            found[-1] = (found[-1][0], body)
    return found


def masked(text: str) -> list[str]:
    """Lines with amounts and spaces made alike: times, peaks of memory and roundings differ from machine to machine."""
    lines = (" ".join(AMOUNT.sub("#", line).split()) for line in text.splitlines())
    return [line for line in lines if line]


@pytest.mark.slow
@pytest.mark.parametrize("page", TOOLS)
def test_a_tools_page_runs_as_written_and_shows_what_comes(page: str, tmp_path: Path):
    """One process for each command, and one for the page's Python, in a folder with nothing but the examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "docs/images").mkdir(parents=True)
    paths = {"PYTHONPATH": str(ROOT / "src"), "MLPLAB_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}
    python, shown = "", ""
    jobs = []
    for body, output in programs(page):
        if body.startswith("mlplab "):
            jobs.append(([sys.executable, "-m", *shlex.split(body)], output))
        elif body.startswith("python "):
            jobs.append(([sys.executable, *shlex.split(body)[1:]], output))
        else:
            python, shown = python + body + "\n", shown + output
    if python:
        jobs.append(([sys.executable, "-c", python], shown))
    assert jobs
    for words, output in jobs:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | paths
        )
        assert done.returncode in (0, 1), done.stderr  # 1: something was found
        said = [line for line in done.stderr.splitlines() if not line.startswith("Fontconfig warning")]
        assert said == []  # but for what Graphviz finds fault with in the fonts of a machine
        assert masked(done.stdout) == masked(output), words


def test_figures_of_the_page_on_shift_are_the_measured_ones(monkeypatch):
    """`python benchmarks/shift.py page` writes them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    page = runpy.run_path(str(ROOT / "benchmarks/shift.py"))
    text = page["PAGE"].read_text(encoding="utf-8")
    assert page["filled"](text) == text


def test_the_pipeline_that_is_flushed_is_never_ascribed_to_the_one_that_is_not():
    """1F1B with a flush is of 2021. PipeDream (2019) has no flush: its gradients are not those of one process."""
    pages = [
        *ROOT.glob("docs/*.md"), *ROOT.glob("books/**/*.md"), *ROOT.glob("src/mlplab/analysis/*.py"),
    ]  # fmt: skip
    text = {path: " ".join(path.read_text("utf-8").split()) for path in pages}
    assert {path.name for path in pages if re.search(r"Narayanan (et al\.|等) 2019", text[path])} == set()
    cited = {
        f"{path.parent.name}/{path.name}"
        for path in pages
        if re.search(r"Narayanan (et al\.|等) 2021, Efficient", text[path])
    }
    assert cited >= {
        "docs/partition.md", "4.7.5/text.en.md", "4.7.5/text.zh.md", "analysis/schedule.py",
    }  # fmt: skip


@pytest.mark.parametrize(("page", "language"), [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_an_answer_that_the_readme_quotes_is_the_published_one(page: str, language: str):
    """`mlplab answer 4.5.1` fills its lines; the words and figures are those of the evidence."""
    inquiry = evidence.published(ours().exercise("4.5.1")).inquiry
    written = render(inquiry, language)
    quoted = "".join((ROOT / page).read_text("utf-8").split())
    for section in ("short", "circulates"):
        assert "".join(written[section].replace("$", "").split()) in quoted  # a terminal shows no dollars
    assert f"linear-high-dim · {inquiry.observations.num_seeds}".replace(" ", "") in quoted
