"""How fast the engine is, beside what else there is, all measured in one run: `make bench`, `make bench-gpu`.

    python benchmarks/engine.py --cases a,c --json figures.json

Every figure is a ratio of two times taken in the same round. The engine's time is the slope between a call with
few epochs and one with more, so that drawing weights, loading and evaluation stand apart; peers run whole epochs.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import torch
from rich.console import Console

import table
from bench import QUICK, Bench, Sizes
from cases import ARMS, CASES
from mlplab.environment import environment
from mlplab.errors import InvalidInput, MLPLabError, UnknownName
from table import GIB, Row

STOPPED = 130


def figures(bench: Bench, made_by: dict[str, object], rows: Sequence[Row]) -> dict[str, object]:
    """All of it, down to every raw time."""
    return {
        "environment": made_by,
        "sizes": asdict(bench.sizes),
        "arms": {case.letter: case.arms for case in bench.cases},
        "memory": bench.memory,
        "rows": [asdict(row) for row in rows],
        "samples": {
            group: {name: [asdict(sample) for sample in samples] for name, samples in timings.samples.items()}
            for group, timings in bench.timings.items()
        },
        "prepared": {group: timings.prepared for group, timings in bench.timings.items()},
        "skipped": {group: timings.skipped for group, timings in bench.timings.items()},
        "peaks": [
            asdict(load) | ({"skipped": peak} if isinstance(peak, str) else asdict(peak))
            for load, peak in bench.peaks
        ],
    }


def measured_on(device: str) -> dict[str, object]:
    """The environment of a result, and what matters for speed."""
    made_by = environment() | {"device": device}
    made_by["amx"] = "amx" in str(made_by["processor"])
    if device != "cpu":
        made_by["gpu"] = torch.cuda.get_device_name(device)
        made_by["cuda"] = torch.version.cuda
    return made_by


# --- the command line --------------------------------------------------------------------------------------


class OneLine(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        fail(f"{message}. --help lists what there is.")


def fail(message: str) -> NoReturn:
    """One line, status 2."""
    print(f"benchmark: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLine(prog="benchmarks/engine.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", metavar="a,b", help="cases to measure: a, b, c, d; on a GPU a and b")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--memory", metavar="2GiB", help="the budget that the engine is told throughout")
    parser.add_argument("--rounds", type=int, help="times that each is measured")
    parser.add_argument("--models", type=int, help="models of the main measurement (on a GPU 1000)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs on a GPU")
    parser.add_argument("--arms", type=int, default=ARMS, help="runs that share a seed; 1: every run its own")
    parser.add_argument(
        "--few",
        action="store_true",
        help="1, 2 and 3 models alone, in a few minutes; on a CPU, b where --cases names it",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="also 1,024 models")
    size.add_argument(
        "--quick", action="store_true", help="a smoke run under a minute; its figures mean nothing"
    )
    parser.add_argument(
        "--json", metavar="PATH", help="file of all figures; benchmarks/results/engine-cpu.json"
    )
    return parser.parse_args(words)


def bench_of(given: argparse.Namespace) -> Bench:
    """Raises InvalidInput, before anything is measured, for what cannot be."""
    if given.device not in ("cpu", "cuda"):
        raise UnknownName("--device", given.device, ("cpu", "cuda"))
    for name, low in (("rounds", 1), ("models", 1), ("epochs", 2), ("arms", 1)):
        value = getattr(given, name)
        if value is not None and value < low:
            raise InvalidInput(f"--{name}", f"must be at least {low}", value)
    if given.few and given.device != "cpu":
        raise InvalidInput("--few", "must be measured on a CPU", given.device)
    sizes = QUICK if given.quick else Sizes()
    if given.full:
        sizes = replace(sizes, engine_only=(1_024,))
    if given.rounds is not None:
        sizes = replace(sizes, rounds=given.rounds)
    models = given.models or (1_000 if given.device == "cuda" and not given.quick else None)
    if models is not None:
        sizes = replace(sizes, models=dict.fromkeys(CASES, models))
    fits = tuple(CASES) if given.device == "cpu" else ("a", "b")
    # Without AMX an epoch of the loop in bfloat16 takes minutes: among few models it is measured where it is named.
    usual = tuple(letter for letter in fits if not (given.few and CASES[letter].precision == "bfloat16"))
    letters = re.split(r"[\s,]+", given.cases.strip()) if given.cases else usual
    for letter in letters:
        if letter not in fits:
            raise UnknownName("--cases" if given.device == "cpu" else "--cases on a GPU", letter, fits)
    cases = [
        replace(
            CASES[letter],
            num_images=sizes.num_images,
            arms=given.arms if given.arms != ARMS else CASES[letter].arms,
        )
        for letter in dict.fromkeys(letters)
    ]
    return Bench(cases, sizes, given.device, memory_budget(given.memory), given.epochs, few_only=given.few)


def memory_budget(text: str | None) -> int | None:
    """`2GiB`, `512MiB` in bytes."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(GiB|MiB)", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise InvalidInput("--memory", "must be a size in GiB or MiB", text, "Write --memory 2GiB")
    return int(float(found[1]) * (GIB if found[2].lower() == "gib" else 2**20))


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print the table, write the JSON."""
    given = arguments(words)
    try:
        bench = bench_of(given)
        # A smoke run leaves what was measured in earnest alone.
        name = f"engine-few-{given.device}.json" if given.few else f"engine-{given.device}.json"
        kept = None if given.quick else Path(__file__).parent / "results" / name
        path = Path(given.json) if given.json else kept
        if given.device == "cuda" and not torch.cuda.is_available():
            print(f"skipped: there is no CUDA device here, or torch {torch.__version__} cannot see it.")
            return
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()  # better now than after ten minutes
        bench.run(Console(stderr=True))
        made_by = measured_on(given.device)
        rows = bench.rows()
        caption = bench.caption(made_by)
        if given.quick:
            caption.insert(0, "A smoke run: sizes are tiny, and these figures mean nothing.")
        console = Console()
        table.show(rows, bench.titles(), caption, console if console.is_terminal else Console(width=180))
        if path is not None:
            path.write_text(json.dumps(figures(bench, made_by, rows), indent=1, allow_nan=False) + "\n")
            print(f"All figures: {path}")
    except MLPLabError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        print("\nbenchmark: stopped; nothing was written.", file=sys.stderr)
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
