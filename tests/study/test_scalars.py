"""What TensorBoard reads is what the store holds, whatever came on the way."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from mlplab.engine import Epoch, train
from mlplab.errors import InvalidInput, MissingExtra
from mlplab.knobs import turn
from mlplab.study import ScalarLog, Store, Study, factorial, run_study
from mlplab.study import scalars as module
from mlplab.study.tuning import Space, tune

from .cases import BASE, dataset, small_study

pytest.importorskip("tensorboard", reason="tensorboard (extra [tensorboard]) is not installed")


def read(folder: Path) -> dict[tuple[str, int], float]:
    """The points of one run by tag and step, as TensorBoard's own reader has them; each may come once."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    (file,) = folder.glob("*tfevents*")
    events = [Event.FromString(record) for record in RawEventFileLoader(str(file)).Load()]
    assert events[0].file_version == "brain.Event:2"
    steps = [event.step for event in events]
    assert steps == sorted(steps)
    points = [((value.tag, e.step), value.simple_value) for e in events[1:] for value in e.summary.value]
    assert len(dict(points)) == len(points)
    return dict(points)


def expected(results, arm: str, seed: int) -> dict[tuple[str, int], float]:
    rows = results.curves.query("arm == @arm and seed == @seed")
    return {(row.metric, row.epoch): pytest.approx(row.value) for row in rows.itertuples()}


def is_as_stored(folder: Path, results) -> None:
    for arm, seed in zip(results.frame["arm"], results.frame["seed"], strict=True):
        assert read(folder / arm / f"seed={seed}") == expected(results, arm, seed)


def test_curves_are_those_of_the_store_trained_or_found(tmp_path):
    """Also of runs that diverge or stop early, and of those in the store already."""
    base = turn(BASE, epochs=12, patience=1)
    study = Study(factorial(base, learning_rate=[0.01, 5.0, 1e30]), 2, dataset())
    with Store(tmp_path / "runs.sqlite") as store:
        for name in ("trained", "found"):
            with ScalarLog(tmp_path / name) as log:
                results = run_study(study, store, log=log)
            assert set(results.frame["status"]) == {"finished", "diverged"}
            whole = results.frame[results.frame["status"] == "finished"]
            lengths = results.curves.query("metric == 'running_loss'").groupby(["arm", "seed"]).size()
            assert {12} < set(lengths[[arm != "learning_rate=1e+30" for arm, _ in lengths.index]])
            for arm, seed in zip(whole["arm"], whole["seed"], strict=True):
                assert read(tmp_path / name / arm / f"seed={seed}") == expected(results, arm, seed)
                assert not any("test" in tag for tag, _ in read(tmp_path / name / arm / f"seed={seed}"))


def test_points_come_while_training_goes_on(tmp_path, monkeypatch):
    """And a run that starts again replaces its first attempt."""
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.0)
    study, folder = small_study(seeds=1), tmp_path / "log"
    seen = []

    def twice(runs, data):
        first = next(iter(train(runs, data)))
        assert isinstance(first, Epoch)
        yield replace(first, values={"running_loss": [99.0] * len(first.runs)})
        for record in train(runs, data):
            seen.append(len(list(folder.rglob("*tfevents*"))))
            yield record

    with Store(tmp_path / "runs.sqlite") as store, ScalarLog(folder) as log:
        results = run_study(study, store, train=twice, log=log)
    assert seen[0] > 0
    is_as_stored(folder, results)


def test_many_runs_need_few_files_open(tmp_path):
    open_now = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 64
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    study = small_study(seeds=25, widths=range(4, 8))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 24, limits[1]))
    try:
        with Store(tmp_path / "runs.sqlite") as store, ScalarLog(tmp_path / "log") as log:
            run_study(study, store, log=log)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list((tmp_path / "log").rglob("*tfevents*"))) == len(study.runs) == 100


def test_what_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=r"ScalarLog\.folder must be a folder"):
        ScalarLog(tmp_path / "file" / "log")
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    for name in list(__import__("sys").modules):
        if name.startswith("tensorboard."):
            monkeypatch.delitem(__import__("sys").modules, name)
    with pytest.raises(MissingExtra, match=r"pip install 'mlplab\[tensorboard\]'"):
        ScalarLog(tmp_path / "log")


def test_an_arm_with_any_name_has_a_folder(tmp_path):
    arms = factorial(BASE, hidden_sizes=[(4,), (5,)])
    odd = [replace(arms[0], name="a/../b:c"), replace(arms[1], name="x" * 300)]
    with Store(tmp_path / "runs.sqlite") as store, ScalarLog(tmp_path / "log") as log:
        run_study(Study(odd, 1, dataset()), store, log=log)
    folders = {path.parent for path in (tmp_path / "log").rglob("*tfevents*")}
    assert len(folders) == 2
    assert all(folder.parent.parent == tmp_path / "log" for folder in folders)


def test_a_rung_goes_on_in_the_file_of_the_one_before(tmp_path):
    space = Space(turn(BASE, epochs=4), learning_rate=[0.01, 0.03, 0.1, 0.3])
    with Store(tmp_path / "runs.sqlite") as store, ScalarLog(tmp_path / "log") as log:
        found = tune(space, dataset(), store, strategy="halving", budget=5, seeds=2, log=log)
    epochs = {(trial.arm.name, trial.seed): trial.epochs for trial in found.trials}
    assert set(epochs.values()) == {1, 4}
    for (arm, seed), last in epochs.items():
        steps = [step for tag, step in read(tmp_path / "log" / arm / f"seed={seed}") if tag == "running_loss"]
        assert steps == list(range(1, last + 1))
