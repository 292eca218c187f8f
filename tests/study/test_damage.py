"""A file that is no good store is refused in one line and left as it is, byte for byte."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mlplab.errors import StoreError
from mlplab.study import Store

from .cases import contents, made_up, small_study

RUNS = small_study(seeds=25).runs
DIGESTS = [run.digest for run in RUNS]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A closed store of 100 results."""
    path = tmp_path_factory.mktemp("whole") / "runs.sqlite"
    with Store(path) as store:
        store.save(map(made_up, RUNS))
    return path.read_bytes()


def flipped(offset):
    def damage(path, whole):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0xFF]) + whole[offset + 1 :])

    return damage


def cut(size):
    return lambda path, whole: path.write_bytes(whole[: size if size > 0 else len(whole) + size])


def sql(*statements, new=False):
    def make(path, whole):
        path.write_bytes(b"" if new else whole)
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return make


def empty_but_logged(path, whole):
    path.touch()
    path.with_name(f"{path.name}-wal").write_bytes(b"x" * 5000)


REFUSED = {
    "a text": (lambda path, whole: path.write_text("Dear diary,\n" * 99), "no results store"),
    "one byte": (lambda path, whole: path.write_bytes(b"S"), "another program's"),
    "zeros": (lambda path, whole: path.write_bytes(bytes(8192)), "no results store"),
    "another program's": (sql("CREATE TABLE bookmarks (url)", new=True), "another program's"),
    "another program's, in WAL": (
        sql("PRAGMA journal_mode=WAL", "CREATE TABLE b (u)", new=True),
        "another program's",
    ),
    "a newer schema": (
        sql("PRAGMA user_version = 99"),
        r"newer mlplab \(schema 99; this one knows 1\)\. Upgrade",
    ),
    "no schema": (sql("PRAGMA user_version = 0"), "damaged"),
    "a table less": (sql("DROP TABLE claims"), "damaged"),
    "a column more": (sql("ALTER TABLE runs ADD COLUMN mood"), "damaged"),
    "cut in the header": (cut(50), "another program's"),
    "cut in half": (lambda path, whole: path.write_bytes(whole[: len(whole) // 2]), "damaged"),
    "cut by a page": (cut(-4096), "damaged"),
    "cut by a byte": (cut(-1), "damaged"),
    "longer": (lambda path, whole: path.write_bytes(whole + bytes(4096)), "damaged"),
    "empty, but a log": (empty_but_logged, "is no results store|another program's"),
    "magic flipped": (flipped(3), "no results store"),
    "page size flipped": (flipped(16), "no results store|damaged"),
    "format flipped": (flipped(19), "no results store"),
    "page count flipped": (flipped(31), "damaged"),
    "version flipped": (flipped(63), "newer mlplab"),
    "mark flipped": (flipped(70), "another program's"),
    "first table's page flipped": (flipped(100), "damaged"),
    "a tree's page flipped": (flipped(4096), "damaged"),
}


@pytest.mark.parametrize("opened", [Store, Store.open_readonly], ids=["writing", "reading"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_store_is_refused_and_untouched(tmp_path, whole, case, opened):
    make, said = REFUSED[case]
    path = tmp_path / "runs.sqlite"
    make(path, whole)
    before = contents(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match=said) as caught:
            opened(path)
        assert contents(tmp_path) == before
        line = str(caught.value)
        assert str(path) in line
        assert "MLPLAB_CACHE" in line
        assert "\n" not in line


@pytest.mark.slow
def test_a_flipped_byte_anywhere_is_refused_or_harmless(tmp_path, whole):
    path = tmp_path / "runs.sqlite"
    original = {digest: made_up(run) for digest, run in zip(DIGESTS, RUNS, strict=True)}
    refused = 0
    for offset in np.random.Generator(np.random.Philox(key=1)).integers(0, len(whole), 100).tolist():
        flipped(offset)(path, whole)
        before = contents(tmp_path)
        try:
            with Store(path) as store:
                found = store.get(DIGESTS)
        except StoreError:
            refused += 1
        else:
            for digest, result in found.items():
                assert result.metrics == original[digest].metrics
                assert result.curves == original[digest].curves
                assert np.array_equal(result.parameters[0][0], original[digest].parameters[0][0])
        assert contents(tmp_path) == before
    assert refused > 30  # most bytes are a result's


def test_a_log_half_copied_into_the_file_is_no_damage(tmp_path):
    """What is left when the disk becomes full, or the power goes, while SQLite tidies its log away."""
    path = tmp_path / "runs.sqlite"
    with Store(path) as store:
        store.save(map(made_up, RUNS))
        crashed = contents(tmp_path)
    (tmp_path / "runs.sqlite").write_bytes(path.read_bytes()[:4096] + crashed["runs.sqlite"][4096:])
    (tmp_path / "runs.sqlite-wal").write_bytes(crashed["runs.sqlite-wal"])
    for opened in (Store.open_readonly, Store):
        with opened(path) as store:
            assert store.get(DIGESTS).keys() == set(DIGESTS)
    assert list(contents(tmp_path)) == ["runs.sqlite"]


@pytest.mark.parametrize("name", ["a folder", "a file as folder", "a device"])
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    path = {
        "a folder": tmp_path,
        "a file as folder": tmp_path / "file" / "runs.sqlite",
        "a device": Path("/dev/full"),
    }
    with pytest.raises(StoreError, match="MLPLAB_CACHE") as caught:
        Store(path[name])
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == {"file": b"mine"}


@contextlib.contextmanager
def without_privilege():
    """Permissions do not bind root: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared_folder():
    """A folder that others can reach: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("closed", ["folder", "file", "file to reading"])
def test_a_store_without_permission_is_refused_and_untouched(shared_folder, whole, closed):
    path = shared_folder / "runs.sqlite"
    if closed != "folder":
        path.write_bytes(whole)
        path.chmod(0o000 if closed == "file to reading" else 0o444)
    shared_folder.chmod(0o555)
    before = contents(shared_folder)
    with without_privilege(), pytest.raises(StoreError, match=r"cannot be opened.*permissions.*MLPLAB_CACHE"):
        Store(path).claim(RUNS)
    assert contents(shared_folder) == before


def test_a_folder_that_cannot_be_made_is_named(shared_folder):
    shared_folder.chmod(0o555)
    with without_privilege(), pytest.raises(StoreError, match=r"folder cannot be made.*MLPLAB_CACHE"):
        Store(shared_folder / "mlplab" / "runs.sqlite")


def test_an_observer_needs_no_permission_to_write(shared_folder, whole):
    path = shared_folder / "runs.sqlite"
    path.write_bytes(whole)
    path.chmod(0o444)
    shared_folder.chmod(0o555)
    with without_privilege(), Store.open_readonly(path) as store:
        assert store.stored(DIGESTS) == set(DIGESTS)
    assert list(contents(shared_folder)) == ["runs.sqlite"]


@pytest.mark.parametrize("limit", ["pages", "bytes"])
def test_a_full_disk_loses_nothing_that_was_saved(tmp_path, limit):
    path = tmp_path / "runs.sqlite"
    said = {"pages": "the disk is full", "bytes": "the disk refused to read or write"}[limit]
    with Store(path) as store:
        store.save([made_up(RUNS[0])])
        store.claim(RUNS[1:])
        with (
            filled(store, limit),
            pytest.raises(StoreError, match=rf"{said}.*can still be read.*MLPLAB_CACHE"),
        ):
            one_by_one(store)
        saved = store.count()
        assert 1 <= saved < len(RUNS)
        store.save(map(made_up, RUNS))  # and goes on when there is space again
        assert store.count() == len(RUNS)
    with Store(path) as store:
        assert store.get(DIGESTS).keys() == set(DIGESTS)


def one_by_one(store):
    for run in RUNS[1:]:
        store.save([made_up(run)])


@contextlib.contextmanager
def filled(store, limit):
    """Room for little more: by SQLite's own limit, or by the system's on the size of files."""
    if limit == "pages":
        ((pages,),) = store._file.execute("PRAGMA page_count")
        store._file.execute(f"PRAGMA max_page_count = {pages + 8}")
        yield
        store._file.execute("PRAGMA max_page_count = 1000000")
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = store.path.with_name("runs.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log + 100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
