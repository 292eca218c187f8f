"""Correctors of shift beside densratio and adapt, where densities are known: error of the weights, and time.

    python benchmarks/shift_weights.py run --peers FOLDER    the site-packages of an environment that has the two
    python benchmarks/shift_weights.py coverage              of intervals of the risk, where weights are known
    python benchmarks/shift_weights.py real                  house prices and Fashion-MNIST, from MLPLAB_DATA
    python benchmarks/shift_weights.py page                  writes the figures into docs/shift-weights.md

Without --peers ours run alone, and the result says why. All of a round are measured in turn, on the same samples.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

import shift_coverage
import shift_weights_real
from mlplab.environment import environment
from mlplab.rng import Stream
from mlplab.shift.classifier_weights import ClassifierWeights
from mlplab.shift.kliep import KLIEP
from mlplab.shift.kmm import KMM
from mlplab.shift.least_squares import RULSIF, ULSIF

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "shift-weights.md"
NUM_ROWS = 300


@dataclass(frozen=True)
class Problem:
    """Source and target samples of `NUM_ROWS` rows, and p(target)/p(source) at any row."""

    title: str
    draw: Callable[[Stream], tuple[np.ndarray, np.ndarray]]
    ratio: Callable[[np.ndarray], np.ndarray]


def _gauss(x: np.ndarray, mean: float, scale: float) -> np.ndarray:
    return np.asarray(norm.logpdf(x, mean, scale)).sum(1)


def _two_hills(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    side = np.where(stream.uniform(NUM_ROWS) < 0.5, -1.0, 1.0)
    target = 0.5 * stream.normal((NUM_ROWS, 2))
    target[:, 0] += side
    return stream.normal((NUM_ROWS, 2)), target


def _two_hills_ratio(x: np.ndarray) -> np.ndarray:
    hills = [norm.pdf(x[:, 0], side, 0.5) * norm.pdf(x[:, 1], 0, 0.5) / 2 for side in (-1, 1)]
    return np.asarray(sum(hills)) / np.exp(_gauss(x, 0, 1))


def _moved(num_features: int, shift: float) -> Problem:
    def draw(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
        target = stream.normal((NUM_ROWS, num_features))
        target[:, :2] += shift
        return stream.normal((NUM_ROWS, num_features)), target

    def ratio(x: np.ndarray) -> np.ndarray:
        return np.exp((shift * x[:, :2] - shift**2 / 2).sum(1))

    return Problem(f"two of {num_features} Gaussian features moved by {shift}", draw, ratio)


PROBLEMS = {
    "shimodaira": Problem(
        "Shimodaira 2000: N(.5, .5²) to N(0, .3²)",
        lambda stream: (0.5 + 0.5 * stream.normal((NUM_ROWS, 1)), 0.3 * stream.normal((NUM_ROWS, 1))),
        lambda x: np.exp(_gauss(x, 0, 0.3) - _gauss(x, 0.5, 0.5)),
    ),
    "two hills": Problem("a Gaussian to two narrow hills, 2 features", _two_hills, _two_hills_ratio),
    "moved 2": _moved(2, 0.6),
    "moved 10": _moved(10, 0.6),
}

Weigh = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _ours(make: Callable[[], Any]) -> Weigh:
    return lambda source, target: make().fit(source, target).weights_


def _densratio(module: Any, method: str, alpha: float) -> Weigh:
    def weigh(source: np.ndarray, target: np.ndarray) -> np.ndarray:
        found = module.densratio(target, source, method=method, alpha=alpha, verbose=False)
        return np.asarray(found.compute_density_ratio(source))

    return weigh


def _adapt(module: Any, name: str, options: dict[str, Any]) -> Weigh:
    def weigh(source: np.ndarray, target: np.ndarray) -> np.ndarray:
        model = getattr(module, name)(verbose=0, random_state=0, **options)
        return np.asarray(model.fit_weights(source, target))

    return weigh


def contenders(peers: str | None) -> tuple[dict[str, tuple[str, Weigh]], dict[str, str]]:
    """By name: the method, so that like is compared with like, and what weighs. And who was left out, and why."""
    found: dict[str, tuple[str, Weigh]] = {
        "mlplab classifier": ("classifier", _ours(ClassifierWeights)),
        "mlplab uLSIF": ("uLSIF", _ours(ULSIF)),
        "mlplab RuLSIF": ("RuLSIF", _ours(RULSIF)),
        "mlplab KLIEP": ("KLIEP", _ours(KLIEP)),
        "mlplab KMM": ("KMM", _ours(KMM)),
    }
    skipped = {}
    if peers:
        sys.path.append(peers)  # last: only what is not installed here comes from there
    for library in ("densratio", "adapt"):
        try:
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                module = importlib.import_module(
                    "densratio" if library == "densratio" else "adapt.instance_based"
                )
        except ImportError as error:
            skipped[library] = f"not installed ({error})"
            continue
        if library == "densratio":
            found["densratio uLSIF"] = ("uLSIF", _densratio(module, "uLSIF", 0.0))
            found["densratio RuLSIF"] = ("RuLSIF", _densratio(module, "RuLSIF", 0.1))
            found["densratio KLIEP"] = ("KLIEP", _densratio(module, "KLIEP", 0.0))
        else:
            grid = {"gamma": [2.0**power for power in range(-4, 5, 2)]}
            found["adapt uLSIF"] = ("uLSIF", _adapt(module, "ULSIF", {"lambdas": [0.01, 0.1, 1.0], **grid}))
            found["adapt RuLSIF"] = (
                "RuLSIF",
                _adapt(module, "RULSIF", {"lambdas": [0.01, 0.1, 1.0], **grid}),
            )
            found["adapt KLIEP"] = ("KLIEP", _adapt(module, "KLIEP", grid))
            found["adapt KMM"] = ("KMM", _adapt(module, "KMM", {"gamma": 1.0}))
    return found, skipped


def error(weights: np.ndarray, true: np.ndarray) -> float:
    """Squared error over that of equal weights; both scaled to mean 1. 0 is perfect, 1 no better than nothing."""
    w, t = weights / weights.mean(), true / true.mean()
    return float(((w - t) ** 2).sum() / ((1 - t) ** 2).sum())


def run(repeats: int, peers: str | None, only: str | None = None) -> None:
    """Measure all; or one contender anew, on the samples of the run that is kept, whose other rows stay."""
    found, skipped = contenders(peers)
    kept: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    if only is not None:
        before = _read("shift-weights")
        kept, repeats, skipped = (
            [r for r in before["rows"] if r["name"] != only],
            before["repeats"],
            before["skipped"],
        )
        found = {only: found[only]}
    rows: list[dict[str, Any]] = []
    for repeat in range(repeats):
        for key, problem in PROBLEMS.items():
            source, target = problem.draw(Stream(repeat, "data"))
            for name, (method, weigh) in found.items():
                rows.append({"problem": key, "repeat": repeat, "name": name, "method": method})
                try:
                    rows[-1] |= measured(method, weigh, source, target, problem.ratio(source))
                except Exception as failure:  # a peer's failure is a result
                    rows[-1] |= {"error": None, "seconds": None}
                    skipped[name] = f"failed on {key}: {str(failure).splitlines()[0][:100]}"
                print(f"{repeat + 1} of {repeats}, {key}, {name}", file=sys.stderr, flush=True)
        # After each repeat: what was measured is kept, and may be looked at.
        versions = {
            name: _version(name) for name in ("densratio", "adapt") if only is None and name not in skipped
        }
        told: dict[str, Any] = {
            "num_rows": NUM_ROWS,
            "repeats": repeat + 1,
            "peers": versions,
            "skipped": skipped,
        }
        if only is not None:
            anew = sorted({*before.get("anew", []), only})
            told |= {"peers": before["peers"], "repeats": repeats, "anew": anew}
        _save("shift-weights", told | {"rows": kept + rows})


def measured(
    method: str, weigh: Weigh, source: np.ndarray, target: np.ndarray, ratio: np.ndarray
) -> dict[str, float]:
    """The error of the weights, and the processor's seconds: a busy machine counts for nobody."""
    start = time.process_time()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        weights = np.asarray(weigh(source, target), dtype=np.float64).ravel()
    seconds = time.process_time() - start
    # What RuLSIF looks for is the relative ratio: it is judged by that.
    true = ratio / (0.1 * ratio + 0.9) if method == "RuLSIF" else ratio
    if not np.isfinite(weights).all() or weights.mean() <= 0:
        raise ValueError("weights that are not finite, or all 0")
    return {"error": error(weights, true), "seconds": seconds}


def _version(library: str) -> str:
    from importlib.metadata import version

    return version(library)


def _save(name: str, content: dict[str, Any]) -> None:
    made = {"environment": environment() | {"threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or None}}
    text = json.dumps(made | content, indent=1, allow_nan=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


# --- the page ----------------------------------------------------------------------------------------------


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _spread(values: list[float]) -> str:
    low, high = np.quantile(values, [0.25, 0.75])
    return f"{statistics.median(values):.3f} ({low:.3f} to {high:.3f})"


def error_table() -> str:
    """Median error and quartiles of each contender on each problem."""
    found = _read("shift-weights")
    rows, names = found["rows"], list(dict.fromkeys(row["name"] for row in found["rows"]))
    made, peers = found["environment"], ", ".join(f"{k} {v}" for k, v in found["peers"].items()) or "no peers"
    lines = [
        f"{made['processor']}; scikit-learn {made['packages']['scikit-learn']}, {peers}; {found['num_rows']} rows of "
        f"each sample, {found['repeats']} repeats. Median error (quartiles).",
        "",
        "| | " + " | ".join(PROBLEMS) + " |",
        "|---|" + "---|" * len(PROBLEMS),
    ]
    for name in names:
        cells = []
        for problem in PROBLEMS:
            errors = [r["error"] for r in rows if r["name"] == name and r["problem"] == problem]
            kept = [value for value in errors if value is not None]
            failed = f", {len(errors) - len(kept)} failed" if len(kept) < len(errors) else ""
            cells.append((_spread(kept) if kept else "") + failed)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name in found.get("anew", []):
        lines += ["", f"{name} was measured anew on the same samples, after the others."]
    for name, why in found["skipped"].items():
        lines += ["", f"{name}: {why}."]
    return "\n".join(lines)


def ratio_table() -> str:
    """Error and time of each peer, in those of our estimator of the same method on the same samples."""
    rows = _read("shift-weights")["rows"]
    own = {(r["method"], r["problem"], r["repeat"]): r for r in rows if r["name"].startswith("mlplab")}
    lines = [
        "| peer / ours | problem | error, median of ratios | time, median of ratios |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["name"] for row in rows if not row["name"].startswith("mlplab")):
        for problem in PROBLEMS:
            mine = [row for row in rows if row["name"] == name and row["problem"] == problem]
            pairs = [
                (row, own[row["method"], problem, row["repeat"]]) for row in mine if row["error"] is not None
            ]
            if pairs:
                errors = [row["error"] / ours["error"] for row, ours in pairs]
                times = [row["seconds"] / ours["seconds"] for row, ours in pairs]
                lines.append(
                    f"| {name} | {problem} | {statistics.median(errors):.2f} | {statistics.median(times):.2f} |"
                )
    if len(lines) == 2:
        return "No peer was installed."
    return "\n".join(lines)


def real_tables() -> str:
    """House prices, then Fashion-MNIST."""
    found = _read("shift-weights-real")
    lines = [
        "| split | method | rows | worth | warnings | error of weights | risk on source | corrected (95% interval) "
        "| risk on target | advice |",
        "|" + "---|" * 10,
    ]
    for row in found["houses"]:
        at = row["corrected"]
        error = "" if row["error"] is None else f"{row['error']:.2f}"
        cells = (
            row["split"], row["method"], str(row["rows"]), f"{row['effective_sample_size']:.0f}",
            ", ".join(row["warnings"]), error, f"{row['risk_on_source']:.4f}",
            f"{at['estimate']:.4f} ({at['ci_low']:.4f} to {at['ci_high']:.4f})", f"{row['risk_on_target']:.4f}",
            row["advice"],
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| Fashion-MNIST | largest error of a share | shares in their interval | accuracy | accuracy, adapted |",
        "|---|---|---|---|---|",
    ]
    for row in found["fashion"]:
        before = f"{row['largest_error']:.3f} (source shares: {row['largest_error_unadapted']:.3f})"
        cells = (
            row["method"], before, f"{row['covered']} of {row['classes']}", f"{row['accuracy']:.3f}",
            f"{row['accuracy_adapted']:.3f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


PARTS = {
    "weights-error": error_table,
    "weights-ratio": ratio_table,
    "weights-coverage": shift_coverage.table,
    "weights-real": real_tables,
}


def filled(page: str) -> str:
    """The page with its marked parts as the results say. Raises LookupError for a mark that is not there."""
    for name, write in PARTS.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = write()
        page, count = mark.subn(lambda found, text=text: f"{found[1]}\n{text}\n\n{found[2]}", page)
        if count != 1:
            raise LookupError(f"{PAGE.name} must have one mark {name}; it has {count}")
    return page


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    beside = parts.add_parser("run", help="error of the weights and time, beside the peers")
    beside.add_argument("--repeats", type=int, default=20)
    beside.add_argument("--peers", metavar="FOLDER", help="site-packages that have densratio and adapt")
    beside.add_argument("--only", metavar="NAME", help="measure this one anew, and keep the others' rows")
    covers = parts.add_parser("coverage", help="of intervals of the risk, where weights are known")
    covers.add_argument("--repeats", type=int, default=4_000)
    parts.add_parser("real", help="house prices and Fashion-MNIST")
    parts.add_parser("page", help="write the figures into docs/shift-weights.md")
    given = parser.parse_args(words)
    if given.part == "run":
        run(given.repeats, given.peers, given.only)
    elif given.part == "coverage":
        shift_coverage.run(given.repeats)
    elif given.part == "real":
        _save(
            "shift-weights-real",
            {"houses": shift_weights_real.houses(), "fashion": shift_weights_real.fashion()},
        )
    else:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
