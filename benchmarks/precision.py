"""Does training in mixed bfloat16 reach the accuracy of float32? The chapter's two image models, on paired seeds.

    python benchmarks/precision.py

Same first weights, same batches, same masks: only the rounding differs. Equivalent means: by two one-sided tests at
5%, the mean difference in test accuracy is within 0.2 points. Finished runs are kept in the user's store.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mlplab.answers import ours
from mlplab.cli.bars import training_bar
from mlplab.data import load
from mlplab.environment import environment
from mlplab.errors import MLPLabError
from mlplab.stats import Comparison, paired
from mlplab.study import Store, Study, factorial, run_study

chapter = ours().module("chapter")

SEEDS, MARGIN = 30, 0.002
MODELS = {
    "784-256-10, rate 0.1": chapter.MLP_SETTING,
    "784-256-256-10, dropout, rate 0.5": chapter.DROPOUT_SETTING,
}
RESULT = Path(__file__).parent / "results" / "precision.json"


def main() -> None:
    """Train what is not there yet, print the table, write the JSON."""
    dataset = load("fashion-mnist")
    found: dict[str, Comparison] = {}
    with Store() as store:
        for name, setting in MODELS.items():
            study = Study(factorial(setting, precision=["float32", "bfloat16"]), SEEDS, dataset)
            with training_bar() as on_progress:
                results = run_study(study, store, on_progress=on_progress)
            differences = results.differences("test_accuracy", "precision=bfloat16", "precision=float32")
            found[name] = paired(differences, claim="equivalent", margin=MARGIN)
    table = Table(
        "model", "bfloat16 - float32, points", "95% interval", "seeds", "equivalent", "seeds needed"
    )
    for name, it in found.items():
        bounds = (it.estimate, it.ci_low, it.ci_high)
        points = ["-" if value is None else f"{100 * value:+.2f}" for value in bounds]
        needed = "" if it.verdict != "undecided" else str(it.replicates_needed)
        table.add_row(
            name, points[0], f"{points[1]} to {points[2]}", str(it.num_replicates), it.verdict, needed
        )
    Console().print(table)
    RESULT.parent.mkdir(exist_ok=True)
    content = {"environment": environment(), "margin": MARGIN}
    content["models"] = {name: it.to_dict() for name, it in found.items()}
    RESULT.write_text(json.dumps(content, indent=1, default=str) + "\n")


if __name__ == "__main__":
    try:
        main()
    except MLPLabError as error:
        sys.exit(f"precision: {error}")
