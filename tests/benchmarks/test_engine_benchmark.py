"""The benchmark runs from end to end at tiny sizes, and says what it measured. No time is asserted."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "engine.py"

# The table, by case. Sizes are tiny, so that 2 and 4 models stand for 8 and 64.
TARGETS = {
    "a": {">= 1.6x", ">= 10x", ">= 60%", ">= 2x", ">= 1x", "within 15%", "<= 1 GiB"},
    "b": {">= 5x", ">= 35x", ">= 40%", ">= 2x", ">= 1x", "within 15%"},
    "c": {">= 40x", ">= 2x", ">= 1x"},
    "d": {">= 300x", ">= 2x", ">= 1x"},
}


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """The script's own, in this process: most of what a process of its own does is to load torch."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return runpy.run_path(str(SCRIPT))["main"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a smoke run prints, and the figures that it writes."""
    file = tmp_path_factory.mktemp("benchmark") / "figures.json"
    done = benchmark("--quick", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(file.read_text())


@pytest.mark.parametrize("case", TARGETS)
def test_every_case_stands_beside_its_targets(smoke: tuple[str, dict[str, Any]], case: str):
    rows = [row for row in smoke[1]["rows"] if row["case"] == case]
    assert {row["target"] for row in rows} - {""} == TARGETS[case]


def test_a_row_is_measured_or_says_why_it_is_not(smoke: tuple[str, dict[str, Any]]):
    for row in smoke[1]["rows"]:
        skipped = row["measured"].startswith("skipped: ")
        assert skipped == (row["value"] is None)
        assert not skipped or len(row["measured"]) > len("skipped: ")
        # A target is judged exactly where there is something to judge.
        assert (row["met"] is not None) == bool(row["target"] and not skipped)


def test_every_raw_time_is_kept(smoke: tuple[str, dict[str, Any]]):
    _, figures = smoke
    assert set(figures["samples"]) == {"images", "many images", "c", "d"}
    for group, contenders in figures["samples"].items():
        assert contenders
        assert len({len(samples) for samples in contenders.values()}) == 1, "all are measured in every round"
        for name, samples in contenders.items():
            assert not figures["skipped"][group].get(name)
            assert all(sample["seconds"] > 0 and sample["calls"] for sample in samples)


def test_the_table_says_what_it_was_measured_on(smoke: tuple[str, dict[str, Any]]):
    text, figures = smoke
    made_by = figures["environment"]
    assert str(made_by["processor"]) in text
    assert ("with AMX" in text) == made_by["amx"]
    assert f"torch {made_by['packages']['torch'].split('+')[0]}" in text
    assert "these figures mean nothing" in text


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--cases", "a,e"], "'e'"),
        (["--device", "gpu"], "'gpu'"),
        (["--device", "cuda", "--cases", "d"], "'d'"),
        (["--memory", "2"], "'2'"),
        (["--memory", "0GiB"], "'0GiB'"),
        (["--rounds", "0"], "--rounds"),
        (["--rounds", "three"], "three"),
        (["--quick", "--full"], "--full"),
        (["--nonsense"], "--nonsense"),
        (["--quick", "--json", "/dev/null/figures.json"], "/dev/null"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_2(main, capsys, arguments: list[str], names: str):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert len(said.err.splitlines()) == 1
    assert names in said.err


def test_without_a_gpu_it_says_so(main, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    main(["--device", "cuda"])
    assert capsys.readouterr().out.startswith("skipped: there is no CUDA device")
