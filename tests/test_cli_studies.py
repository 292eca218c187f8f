"""Commands on a table of one's own: what a newcomer types, and what they type wrong."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from mlplab import cli, engine
from mlplab.study import comparison
from mlplab.study.store import Store


@pytest.fixture
def mlplab(capsys, monkeypatch, tmp_path):
    """Runs a command in this process, in a folder and with a store of its own."""
    monkeypatch.setenv("MLPLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def ended(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mlplab", *words])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, *capsys.readouterr()

    return ended


@pytest.fixture
def houses(tmp_path):
    draws = np.random.default_rng(0)
    area, street = draws.normal(100, 30, 120), draws.choice(["Elm", "Oak"], 120)
    frame = pd.DataFrame({"area": area, "street": street, "price": 3 * area + draws.normal(0, 20, 120)})
    frame.to_csv(tmp_path / "houses.csv", index=False)
    return frame


SMALL = ("--set", "hidden_sizes=4", "--set", "epochs=3", "--seeds", "3")
COMPARE = ("compare", "houses.csv", "--target", "price", "--vary", "weight_decay=0,0.1", *SMALL)


def test_a_comparison_is_told_written_resumed_and_exported(mlplab, houses, tmp_path):
    pytest.importorskip("vl_convert")
    status, out, err = mlplab(*COMPARE, "--csv", "runs.csv", "--report", "page.html")
    assert (status, err) == (0, "")
    assert "weight_decay=0.1" in out
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 6
    assert "<svg" in (tmp_path / "page.html").read_text("utf-8")
    _, out, _ = mlplab("study", "status", "--json")
    (entry,) = json.loads(out)
    assert (entry["done"], entry["runs"]) == (6, 6)
    status, out, _ = mlplab("study", "resume", entry["study"], "--json")
    assert status == 0
    assert json.loads(out)["study"] == entry["study"]
    assert mlplab("study", "export", entry["study"], "-o", "again.csv")[0] == 0
    one, other = (
        pd.read_csv(tmp_path / name).sort_values(["arm", "seed"]) for name in ("runs.csv", "again.csv")
    )
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_status_counts_all_looks_of_a_study_until_it_is_decided(mlplab, houses, monkeypatch):
    """As a second terminal sees it between two looks, and after the last."""
    seen = []
    run_study = comparison.run_study

    def watched(study, store, **how):
        if study.seeds != tuple(range(3)):
            seen.append(json.loads(mlplab("study", "status", "--json")[1])[0])
        return run_study(study, store, **how)

    monkeypatch.setattr(comparison, "run_study", watched)
    adaptive = ("--until", "decided", "--max-seeds", "6", "--vary", "weight_decay=0,1e-9,1e-8")
    assert mlplab(*COMPARE[:4], *SMALL, *adaptive)[0] == 0
    (entry,) = json.loads(mlplab("study", "status", "--json")[1])
    assert (seen[0]["done"], seen[0]["runs"], seen[0]["at_most"]) == (9, 18, 18)
    assert (entry["done"], entry["runs"], entry["at_most"], entry["training"]) == (18, 18, 18, 0)


def test_curves_go_where_log_dir_says(mlplab, houses, tmp_path):
    pytest.importorskip("tensorboard")
    status, out, err = mlplab(*COMPARE, "--log-dir", "curves")
    assert (status, err) == (0, "")
    assert "curves" in out.splitlines()[-1]
    folders = {str(path.parent.relative_to(tmp_path / "curves")) for path in tmp_path.rglob("*tfevents*")}
    assert folders == {f"weight_decay={level}/seed={seed}" for level in ("0", "0.1") for seed in range(3)}


def test_a_file_says_what_the_command_line_says(mlplab, houses, tmp_path):
    text = '[data]\nfile="houses.csv"\ntarget="price"\n[base]\nhidden_sizes=[4]\nepochs=3\n'
    (tmp_path / "plan.toml").write_text(f"{text}[vary]\nweight_decay=[0, 0.1]\n[compare]\nseeds=3\n", "utf-8")
    from_file, typed = (
        json.loads(mlplab(*words, "--json")[1]) for words in (("study", "run", "plan.toml"), COMPARE)
    )
    assert from_file["ranking"] == typed["ranking"]
    with Store.open_readonly() as store:
        assert store.count() == 6  # the second one found everything


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("compare", "none.csv", "--target", "price", "--vary", "dropout=0,0.5"), "cannot be read"),
        (("compare", "houses.csv", "--target", "prise", "--vary", "dropout=0,0.5"), "Did you mean 'price'?"),
        (("compare", "houses.csv", "--target", "price"), "must name a factor"),
        (("compare", "houses.csv", "--target", "price", "--vary", "dropuot=0,1"), "Did you mean 'dropout'?"),
        (("compare", "houses.csv", "--target", "price", "--vary", "dropout=a,b"), "could not be read"),
        ((*COMPARE, "--until", "soon"), "'decided'"),
        ((*COMPARE, "--executor", "cloud"), "'local', 'ray'"),
        ((*COMPARE, "--address", "host:1"), "goes with --executor ray"),
        ((*COMPARE, "--csv", "runs.txt"), "must end in .csv"),
        ((*COMPARE, "--report", "nowhere/page.html"), "folder that exists"),
        (("study", "run", "none.toml"), "cannot be read"),
        (("study", "resume", "nothing"), "No study was begun yet."),
        (("study", "export", "nothing", "-o", "x.txt"), "must end in .csv"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(mlplab, houses, tmp_path, words, says: str):
    status, out, err = mlplab(*words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err
    assert not list(tmp_path.glob("*.html"))
    assert not (tmp_path / "cache" / "studies").exists()


def test_a_table_of_ones_own_can_be_searched(mlplab, houses):
    words = (
        "tune",
        "houses.csv",
        "--search",
        "learning_rate=0.01,0.1",
        "--budget",
        "4",
        "--seeds",
        "2",
        *SMALL[:4],
    )
    status, out, err = mlplab(*words, "--target", "price", "--strategy", "random")
    assert status == 0, err
    assert "Winner" in out
    pd.concat([houses] * 3).to_csv("houses.csv", index=False)
    notes = json.loads(mlplab(*words, "--target", "price", "--strategy", "random", "--json")[1])["notes"]
    assert any("cell for cell" in note for note in notes)
    assert "name the column to predict" in mlplab(*words)[2]
    assert "goes with a table" in mlplab("tune", "digits", *words[2:], "--target", "price")[2]


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        (0, "None of 6 runs had finished: nothing is kept."),
        (1, "1 of 6 runs had finished and is kept: the same command goes on from there."),
        (4, "4 of 6 runs had finished and are kept: the same command goes on from there."),
    ],
)
def test_what_is_kept_when_a_study_is_stopped_is_counted(mlplab, houses, monkeypatch, ended: int, says: str):
    stop_after(monkeypatch, cli.studies, ended)
    assert mlplab(*COMPARE) == (130, "", f"mlplab: stopped. {says}\n")
    with Store() as store:
        assert store.count() == ended


def test_what_is_kept_when_a_search_is_stopped_is_counted_over_its_rungs(mlplab, houses, monkeypatch):
    stop_after(monkeypatch, cli.tuning, 5)
    words = (
        "tune",
        "houses.csv",
        "--target",
        "price",
        "--search",
        "learning_rate=0.01,0.1,0.02,0.03",
        *SMALL,
    )
    status, out, err = mlplab(*words, "--strategy", "random", "--budget", "4")
    assert (status, out) == (130, "")
    assert err.endswith(
        "mlplab: stopped. 5 runs had finished and are kept: the same command goes on from there.\n"
    )


def stop_after(monkeypatch, commands, count: int) -> None:
    """As Ctrl-C does, once so many runs have ended."""
    left = count

    def stopping(runs, data, **options):
        nonlocal left
        for record in engine.train(runs, data, **options):
            if isinstance(record, engine.Result):
                if not left:
                    raise KeyboardInterrupt
                left -= 1
            yield record

    @contextmanager
    def trainer(name, address):
        yield {"train": stopping}

    monkeypatch.setattr(commands, "trainer", trainer)


def test_no_study_is_said(mlplab):
    assert "No study was begun yet" in mlplab("study", "status")[1]
