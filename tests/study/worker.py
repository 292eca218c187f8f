"""A process of its own that runs a study: `python -m study.worker ACTION STORE LOG`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from mlplab.spec import Run
from mlplab.study import Store, run_study

from .cases import Trainer, made_up, small_study

STUDY = small_study(seeds=2, widths=range(4, 16))
LARGE_STUDY = small_study(seeds=20, widths=range(4, 40))
SECONDS = 0.05  # of one training


def main(action: str, path: str, log: str) -> None:
    def note(word: str) -> None:
        # One write to a file opened for appending: lines of two processes do not mix.
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {word}\n")

    def slowly(run: Run) -> None:
        note(run.digest)
        time.sleep(SECONDS)

    with Store(path) as store:
        if action == "run":
            note("ready")
            wait_for(Path(f"{log}.go"))
            results = run_study(STUDY, store, train=Trainer(before=slowly), chunks_at_once=1)
            results.frame.to_json(f"{log}.{os.getpid()}.json")
        elif action in ("claim", "fork"):
            store.claim(STUDY.runs)
            if action == "fork" and not os.fork():
                note("child")
                try:
                    store.count()
                except Exception as error:
                    note(type(error).__name__)
                try:
                    Store(path)
                except Exception as error:
                    note(type(error).__name__)
            note("claimed")
            time.sleep(60)
        elif action == "write":
            # Nothing but transactions, two for each run: a kill falls into one more often than not.
            for run in LARGE_STUDY.runs:
                if store.claim([run]):
                    store.save([made_up(run)])
                    note("saved")
        elif action == "fill":
            run_study(LARGE_STUDY, store, train=Trainer())


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.005)


if __name__ == "__main__":
    main(*sys.argv[1:])
