"""Writes measured figures into docs/{engine,tuning,cluster}.md, between their marks: python benchmarks/page.py."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PAGE, TUNING_PAGE, CLUSTER_PAGE = DOCS / "engine.md", DOCS / "tuning.md", DOCS / "cluster.md"
RESULTS = Path(__file__).parent / "results"


def speed_table(figures: dict[str, Any]) -> str:
    """The rows of one run of the benchmark."""
    made_by = figures["environment"]
    lines = [
        f"{made_by['processor']}, {made_by['cores']} cores, {'with' if made_by['amx'] else 'without'} AMX, "
        f"torch {made_by['packages']['torch']}; median of {figures['sizes']['rounds']} or more rounds "
        "(least to greatest).",
        "",
        "| case | measured | median | target | met | peer / engine |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures["rows"]:
        met = "" if row["met"] is None else "yes" if row["met"] else "**no**"
        cells = (row["case"], row["quantity"], row["measured"], row["target"], met, row["times"])
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def precision_table(figures: dict[str, Any]) -> str:
    """Mixed bfloat16 against float32."""
    lines = [
        "| model | bfloat16 - float32, points of test accuracy | 95% interval | seeds | equivalent | seeds needed |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in figures["models"].items():
        estimate, low, high = (f"{100 * found[key]:+.2f}" for key in ("estimate", "ci_low", "ci_high"))
        needed = f"about {found['replicates_needed']}" if found["replicates_needed"] else ""
        cells = (name, estimate, f"{low} to {high}", str(found["num_replicates"]), found["verdict"], needed)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tuning_table(figures: dict[str, Any]) -> str:
    """Search strategies beside plain Optuna."""
    budgets = sorted({row["budget"] for row in figures["summary"]})
    lines = [
        f"`digits`, {figures['space'].replace('|', ', ')}; {figures['epochs']} epochs. {figures['repeats']} searches "
        "of each, in turn; the peer is Optuna's TPE around an eager PyTorch loop. Regret: what the winner's mean test "
        f"accuracy over {figures['fresh_seeds']} fresh seeds lacks of the best winner of all; mean with 95% t "
        "interval. Ahead: the peer's regret less its own, paired by repeat. Time: median ratio (least to greatest). "
        f"{_machine(figures)}.",
        "",
        "| search | budget, trainings | regret, points | ahead of the peer, points | peer's time / its time |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(figures["summary"], key=lambda row: budgets.index(row["budget"])):
        cells = [row["name"], str(row["budget"]), _points(row["regret"]), "", ""]
        if (ahead := row["ahead_of_peer"]) is not None:
            is_ahead = ahead["verdict"] == "holds" and ahead["estimate"] > 0
            verdict = "yes" if is_ahead else "no" if ahead["verdict"] == "holds" else ahead["verdict"]
            times = row["times_as_fast"]
            cells[3:] = [f"{_points(ahead, '+')}: {verdict}", _times(times)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def search_cv_line(figures: dict[str, Any]) -> str:
    """The drop-in search beside scikit-learn's."""
    return (
        f"Measured beside `GridSearchCV(MLPClassifier(...), n_jobs=2)` on `digits`, {figures['fits']} fits of "
        f"{figures['max_iter']} epochs, in turn over {figures['rounds']} rounds: **{_times(figures['ratio'])} times as "
        f"fast**. scikit-learn's processor time is {figures['limit']:.1f} times that of the matrix products alone: no "
        "program that computes them is faster than that. The best mean score less scikit-learn's: "
        f"{_points(figures['best_score_difference'], '+')} points. "
        f"{_machine(figures)}, scikit-learn {figures['environment']['packages']['scikit-learn']}."
    )


def _machine(figures: dict[str, Any]) -> str:
    made_by = figures["environment"]
    threads = f"{figures['threads']} thread{'s' * (figures['threads'] > 1)}"
    return f"{made_by['processor']}, {threads}, torch {made_by['packages']['torch']}"


def _times(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.1f} ({ratio['low']:.1f} to {ratio['high']:.1f})"


def _points(of: dict[str, Any], sign: str = "") -> str:
    estimate, low, high = (f"{100 * of[key]:{sign}.2f}" for key in ("estimate", "ci_low", "ci_high"))
    return f"{estimate} [{low}, {high}]"


def cluster_tables(figures: dict[str, Any]) -> str:
    """What a run costs, and from that what many runs need."""
    here, plan, driver = figures["here"], figures["plan"], figures["driver_seconds"]
    beside = figures["beside_one_process"]
    lines = [
        f"{figures['setting']}: {figures['runs']} runs, {figures['rounds']} rounds on each cluster, each beside one in "
        f"a single process. {_machine(figures | {'threads': 1})}, one thread a worker.",
        "",
        "| of one run | measured |",
        "|---|---|",
        f"| training, processor time | {1e3 * here['train_seconds']:.1f} ms |",
        f"| the driver of a cluster, processor time | {1e3 * driver:.2f} ms |",
        f"| planning, processor time | {1e3 * plan['seconds']:.3f} ms |",
        f"| planning, the driver's memory | {plan['bytes'] / 1024:.1f} KiB |",
        f"| its result with curves, the driver's memory | {here['result_bytes'] / 1024:.1f} KiB |",
        f"| the store | {here['store_bytes'] / 1024:.1f} KiB |",
        f"| 1 worker, times as fast as one process | {_times(beside['1'])} |",
        f"| 2 workers, times as fast as one process | {_times(beside['2'])} |",
        f"| 2 workers, times as fast as 1 | {figures['scaling']:.2f} |",
        "",
        "| runs | training on one core | on 16 cores | on 1,000, with the driver's limit | store | driver's memory |",
        "|---|---|---|---|---|---|",
    ]
    for power in (3, 5, 7):
        runs = 10**power
        train, limit = runs * here["train_seconds"], runs * driver
        cells = (
            f"10^{power}",
            _duration(train),
            _duration(max(train / 16, limit)),
            _duration(max(train / 1_000, limit)),
            f"{runs * here['store_bytes'] / 2**30:.2f} GiB",
            f"{runs * (plan['bytes'] + here['result_bytes']) / 2**30:.2f} GiB",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"One driver takes the results of {1 / driver:,.0f} such runs a second, which is what "
        f"{here['train_seconds'] / driver:,.0f} cores train: beyond that, more machines bring nothing.",
    ]
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


Parts = dict[str, Callable[[dict[str, Any]], str]]
PARTS: Parts = {"engine-cpu": speed_table, "engine-few-cpu": speed_table, "precision": precision_table}
TUNING_PARTS: Parts = {"tuning": tuning_table, "search_cv": search_cv_line}
CLUSTER_PARTS: Parts = {"cluster": cluster_tables}


def filled(page: str, parts: Parts = PARTS) -> str:
    """The page with its marked parts as the results say. Raises LookupError for a mark that is not there."""
    for name, write in parts.items():
        text = write(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = mark.subn(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
        if count != 1:
            raise LookupError(f"the page must have one mark {name}; it has {count}")
    return page


if __name__ == "__main__":
    for path, parts in ((PAGE, PARTS), (TUNING_PAGE, TUNING_PARTS), (CLUSTER_PAGE, CLUSTER_PARTS)):
        path.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
