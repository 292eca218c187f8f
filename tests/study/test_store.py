"""Laws of the store: what went in comes out, once, and a run has one owner at a time."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from mlplab.errors import StoreError
from mlplab.spec import MLP, Optimizer, Penalty, Prior, Start
from mlplab.study import Store, default_path

from .cases import contents, diverged, made_up, small_study

RUNS = small_study().runs


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.sqlite") as opened:
        yield opened


def equal(stored, result) -> bool:
    """All that a result says, numbers bit for bit."""
    same = (stored.status, stored.diverged_step, stored.metrics, stored.curves, stored.seconds) == (
        result.status, result.diverged_step, result.metrics, result.curves, result.seconds
    )  # fmt: skip
    pairs = zip(stored.parameters, result.parameters, strict=True)
    arrays = [(a, b) for layer, other in pairs for a, b in zip(layer, other, strict=True)]
    return same and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)


@pytest.mark.parametrize("make", [made_up, diverged])
def test_a_result_comes_back_as_it_was(store, make):
    results = [make(run) for run in RUNS]
    store.save(results)
    found = store.get([run.digest for run in RUNS])
    assert all(equal(found[result.run.digest], result) for result in results)
    assert store.count() == len(RUNS)


def test_results_survive_closing(tmp_path):
    with Store(tmp_path / "new" / "folder" / "runs.sqlite") as store:
        store.save([made_up(RUNS[0])])
    with Store(store.path) as store:
        assert equal(store.get([RUNS[0].digest])[RUNS[0].digest], made_up(RUNS[0]))
    assert list(contents(store.path.parent)) == ["runs.sqlite"]


def test_weights_of_a_large_model_are_not_kept(store):
    def weighing(numbers, run):
        return replace(made_up(run), parameters=((np.ones((numbers - 1, 1)), np.ones(1)),))

    store.save([weighing(10_000, RUNS[0]), weighing(10_001, RUNS[1])])
    found = store.get([RUNS[0].digest, RUNS[1].digest])
    assert found[RUNS[0].digest].parameters is not None
    assert found[RUNS[1].digest].parameters is None


@pytest.mark.parametrize("numbers", [10_000, 10_001])
def test_hits_come_back_beside_weights_and_without(store, numbers):
    """8 a byte: 10,000 examples in 1,250 bytes, also of a model whose own weights are too many."""
    hits = np.packbits(np.random.default_rng(0).random(10_000) < 0.87)
    parameters = ((np.ones((numbers - 1, 1)), np.ones(1)),)
    store.save([replace(made_up(RUNS[0]), parameters=parameters, test_hits=hits), made_up(RUNS[1])])
    found = store.get([RUNS[0].digest, RUNS[1].digest])
    kept = found[RUNS[0].digest]
    assert np.array_equal(kept.test_hits, hits)
    assert (kept.parameters is None) == (numbers > 10_000)
    if kept.parameters is None:
        assert len(kept.packed_parameters) < 1_500
    else:
        assert [a.shape for a in kept.parameters[0]] == [(9_999, 1), (1,)]
    assert found[RUNS[1].digest].test_hits is None
    assert equal(found[RUNS[1].digest], made_up(RUNS[1]))


def test_weights_can_be_left_on_the_disk(store):
    store.save([made_up(RUNS[0])])
    (light,) = store.get([RUNS[0].digest], parameters=False).values()
    assert light.parameters is None
    assert light.metrics == made_up(RUNS[0]).metrics


def test_the_first_result_stays(store):
    store.save([made_up(RUNS[0])])
    store.save([diverged(RUNS[0]), made_up(RUNS[1])])
    assert store.get([RUNS[0].digest])[RUNS[0].digest].status == "finished"
    assert store.count() == 2


def test_nothing_is_nothing(store):
    store.save([])
    assert (store.claim([]), store.get([]), store.stored([]), store.count()) == ([], {}, set(), 0)


def test_a_save_is_all_or_nothing(store):
    broken = replace(made_up(RUNS[1]), status=None)  # refused by the table
    with pytest.raises(StoreError):
        store.save([made_up(RUNS[0]), broken])
    assert store.count() == 0


def test_a_row_can_be_read_by_people(store):
    store.save([made_up(RUNS[0])], device="cuda:0")
    with sqlite3.connect(store.path) as connection:
        columns = "spec, data, seed, precision, device, environment, created"
        spec, data, seed, *rest = connection.execute(f"SELECT {columns} FROM runs").fetchone()
    connection.close()
    assert json.loads(spec)["setting"]["model"]["hidden_sizes"] == [4]
    assert (data, seed, rest[:2]) == (RUNS[0].data, RUNS[0].seed, ["float32", "cuda:0"])
    assert {"python", "torch", "processor"} <= json.loads(rest[2]).keys()


def test_every_kind_of_setting_can_be_read_by_people(store):
    """Weights to start with stand there by their digest: they are no text."""
    start = Start([(np.ones((4, 2)), None), (np.ones((3, 4)), None)])
    believing = Penalty(prior=Prior("Laplace", loc=0, scale=0.1), prior_weight=0.5)
    setting = RUNS[0].setting.replace(
        model=MLP((4,), start=start), optimizer=Optimizer(schedule="cosine"), penalty=believing
    )
    store.save([made_up(replace(RUNS[0], setting=setting))])
    with sqlite3.connect(store.path) as connection:
        ((spec,),) = connection.execute("SELECT spec FROM runs")
    connection.close()
    held = json.loads(spec)["setting"]
    assert held["model"]["start"] == f"Start({start.digest})"
    assert held["penalty"]["prior"] == {"kind": "Laplace", "options": [["loc", 0], ["scale", 0.1]]}
    assert held["optimizer"]["schedule"]["kind"] == "cosine"


def test_more_lookups_than_sqlite_takes_variables(store):
    number = 100_000
    count = f"WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {number - 1})"
    blank = "'{}', '', 0, 'finished', NULL, '{}', 0, '', '', '', '', 0, 0, x'', NULL"
    with store._file.transaction():
        store._file.execute(f"{count} INSERT INTO runs SELECT printf('%032x', 2 * i), {blank} FROM c")
    asked = [f"{i:032x}" for i in range(2 * number)]
    assert store.stored(asked) == set(asked[::2])


# Claims


def test_a_run_has_one_owner(store):
    with Store(store.path) as other:
        ours, theirs = store.claim(RUNS[:6]), other.claim(RUNS[3:])
        assert ours == list(RUNS[:6])
        assert theirs == list(RUNS[6:])
        assert store.claim(RUNS) == ours  # ours still, and no more than that
        assert other.claim(RUNS) == theirs


def test_what_is_stored_cannot_be_claimed(store):
    store.claim(RUNS[:2])
    store.save([made_up(RUNS[0])])
    assert store.claim(RUNS[:2]) == [RUNS[1]]
    with Store(store.path) as other:
        assert other.claim(RUNS[:3]) == [RUNS[2]]


def test_a_run_given_twice_is_claimed_once(store):
    assert store.claim([RUNS[0], RUNS[0]]) == [RUNS[0]]


@pytest.mark.parametrize("end", ["release", "close", "die"])
def test_what_an_owner_leaves_is_free_at_once(store, end):
    other = Store(store.path)
    other.claim(RUNS)
    assert store.claim(RUNS) == []
    if end == "die":
        other._owner._lock.close()  # all that a dead process does
    else:
        getattr(other, end)()
    assert store.claim(RUNS) == list(RUNS)
    store.release()
    assert {path.name for path in store.path.parent.iterdir()} <= {
        "runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"
    }  # fmt: skip
    other.close()


def test_a_mark_whose_owner_died_before_it_claimed_is_swept_up(store):
    left = store.path.with_name("runs.sqlite-owner-0123456789abcdef")
    left.touch()
    store.claim(RUNS[:1])
    assert not left.exists()


def test_a_claim_whose_mark_is_gone_is_free(store):
    with store._file.transaction():
        store._file.execute("INSERT INTO claims VALUES (?, 'gone')", (RUNS[0].digest,))
    assert store.claim(RUNS[:1]) == [RUNS[0]]


def test_ctrl_c_between_begin_and_commit_harms_nothing(store):
    store._file._connection.execute("BEGIN IMMEDIATE")
    store._file._connection.execute("INSERT INTO claims VALUES ('x', 'y')")
    store.save([made_up(RUNS[0])])
    assert store.count() == 1
    assert store._file.execute("SELECT * FROM claims") == []


def test_a_link_to_a_store_is_the_same_store(store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "linked.sqlite").symlink_to(store.path)
    store.claim(RUNS[:2])
    with Store(elsewhere / "linked.sqlite") as linked:
        assert linked.claim(RUNS[:3]) == [RUNS[2]]


# Observers


def test_an_observer_sees_what_is_saved_meanwhile_and_writes_nothing(store):
    with Store.open_readonly(store.path) as observer:
        store.save([made_up(RUNS[0])])
        assert observer.count() == 1
        with pytest.raises(StoreError, match=r"runs\.sqlite.*MLPLAB_CACHE"):
            observer.save([made_up(RUNS[1])])
        with pytest.raises(StoreError, match=r"runs\.sqlite"):
            observer.claim(RUNS)
    assert store.count() == 1


def test_an_observer_makes_no_store(tmp_path):
    with pytest.raises(StoreError, match="there is no results store here"):
        Store.open_readonly(tmp_path / "runs.sqlite")
    assert not list(tmp_path.iterdir())


def test_default_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLPLAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert default_path() == tmp_path / ".cache" / "mlplab" / "runs.sqlite"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_path() == tmp_path / "xdg" / "mlplab" / "runs.sqlite"
    monkeypatch.setenv("MLPLAB_CACHE", "~/mine")
    assert default_path() == tmp_path / "mine" / "runs.sqlite"
    with Store() as store:
        assert store.path == default_path()
        assert store.path.exists()
