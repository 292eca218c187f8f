from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlplab.data import download
from mlplab.data.download import RemoteFile, fetch_files
from mlplab.errors import AbsentData
from mlplab.rng import Stream

if TYPE_CHECKING:
    from conftest import Server

CONTENT = Stream(7, "data").bits(40_000).tobytes()  # 320,000 bytes: more than one block
GOOD = RemoteFile("images.gz", "md5", hashlib.md5(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "set"


@pytest.fixture(autouse=True)
def published(server: Server) -> Server:
    server.files[GOOD.name] = CONTENT
    return server


def refusal(server: Server, folder: Path, base_url: str | None = None) -> str:
    with pytest.raises(AbsentData) as error:
        fetch_files([GOOD], base_url or server.base_url, folder, instead="Set MLPLAB_DATA.")
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {GOOD.name + ".lock"}


def test_a_file_arrives_whole_under_its_name_and_is_not_fetched_twice(server: Server, folder: Path) -> None:
    for _ in range(2):
        fetch_files([GOOD], server.base_url, folder)
        assert (folder / GOOD.name).read_bytes() == CONTENT
        assert names(folder) == {GOOD.name}
    assert server.ranges == [None]


def test_progress_rises_to_all_bytes_of_all_files(server: Server, folder: Path) -> None:
    second = RemoteFile("labels.gz", "sha1", hashlib.sha1(b"labels").hexdigest(), 6)
    server.files["labels.gz"] = b"labels"
    reports: list[tuple[int, int]] = []
    fetch_files([GOOD, second], server.base_url, folder, progress=lambda *report: reports.append(report))
    done = [bytes_done for bytes_done, _ in reports]
    assert len(done) > 3
    assert done == sorted(done)
    assert {in_all for _, in_all in reports} == {len(CONTENT) + 6}
    assert done[-1] == len(CONTENT) + 6


@pytest.mark.parametrize("knows_ranges", [True, False], ids=["ranges", "no ranges"])
def test_an_interrupted_download_is_completed_by_the_next(
    server: Server, folder: Path, knows_ranges: bool
) -> None:
    server.cut_after, server.knows_ranges = 100_000, knows_ranges
    assert "ended after 100,000 of 320,000 bytes. Fetch again: it goes on" in refusal(server, folder)
    assert names(folder) == {GOOD.name + ".part"}
    server.cut_after = None
    fetch_files([GOOD], server.base_url, folder)
    assert (folder / GOOD.name).read_bytes() == CONTENT
    assert names(folder) == {GOOD.name}
    assert server.ranges == [None, "bytes=100000-"]


def test_a_download_goes_on_through_many_interruptions(server: Server, folder: Path) -> None:
    server.cut_after = 70_000
    for _ in range(4):
        refusal(server, folder)
    fetch_files([GOOD], server.base_url, folder)
    assert (folder / GOOD.name).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=280000-"


@pytest.mark.parametrize(
    "rest", [b"another file's beginning", CONTENT[:9] + b"!", CONTENT + b"too long", CONTENT]
)
def test_whatever_an_old_part_holds_the_file_comes_out_right(
    server: Server, folder: Path, rest: bytes
) -> None:
    folder.mkdir(parents=True)
    (folder / "images.gz.part").write_bytes(rest)
    fetch_files([GOOD], server.base_url, folder)
    assert (folder / GOOD.name).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_overwritten_and_not_fetched_twice(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "images.gz.part").write_bytes(CONTENT + b"too long")
    server.knows_ranges = False
    fetch_files([GOOD], server.base_url, folder)
    assert (folder / GOOD.name).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_something_else_than_the_published_file_is_thrown_away(server: Server, folder: Path) -> None:
    server.files[GOOD.name] = CONTENT[:-1] + b"!"
    message = refusal(server, folder)
    assert f"MD5 {hashlib.md5(server.files[GOOD.name]).hexdigest()}, not {GOOD.checksum}" in message
    assert names(folder) == set()


def test_a_cut_that_the_server_does_not_admit_is_caught_by_the_checksum(server: Server, folder: Path) -> None:
    server.cut_after, server.tells_length = 100_000, False
    assert "did not send the published file" in refusal(server, folder)
    assert names(folder) == set()


def test_a_missing_file_names_address_and_remedy(server: Server, folder: Path) -> None:
    del server.files[GOOD.name]
    message = refusal(server, folder)
    assert f"{server.base_url}{GOOD.name} answered 404 Not Found. Set MLPLAB_DATA." in message


def test_without_a_server_the_remedy_is_named(server: Server, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert refusal(server, folder, address).endswith("Connection refused). Set MLPLAB_DATA.")


def test_a_name_that_no_network_knows_gives_the_remedy(server: Server, folder: Path) -> None:
    assert "cannot be reached" in refusal(server, folder, "http://no-such-host.invalid/")


def test_a_full_disk_is_told_apart_and_resumed(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_writes = 0

    def write(file: object, block: bytes) -> None:
        nonlocal num_writes
        num_writes += 1
        if num_writes == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(block)

    monkeypatch.setattr(download, "_write", write)
    assert "No space left on device. Make room. Fetch again" in refusal(server, folder)
    fetch_files([GOOD], server.base_url, folder)
    assert (folder / GOOD.name).read_bytes() == CONTENT
    assert server.ranges[1] is not None


def test_a_cache_that_cannot_be_made_names_the_setting(server: Server, folder: Path) -> None:
    folder.parent.write_text("a file where the cache should be")
    assert "Set MLPLAB_CACHE to a folder that you may write to" in refusal(server, folder)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_may_not_be_written_names_the_setting(server: Server, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o500)
    assert "Permission denied. Set MLPLAB_CACHE" in refusal(server, folder)


@pytest.mark.parametrize("fault", ["wrong file", "cut", "missing", "offline"])
def test_a_failed_download_leaves_what_was_there_as_it_was(server: Server, folder: Path, fault: str) -> None:
    # An older edition: good in its day, so worth keeping until the new one is whole.
    folder.mkdir(parents=True)
    (folder / GOOD.name).write_bytes(b"older edition")
    base_url = server.base_url
    if fault == "wrong file":
        server.files[GOOD.name] = b"a proxy's page"
    elif fault == "cut":
        server.cut_after = 1000
    elif fault == "missing":
        server.files.clear()
    else:
        base_url = "http://no-such-host.invalid/"
    refusal(server, folder, base_url)
    assert (folder / GOOD.name).read_bytes() == b"older edition"


def test_a_good_copy_in_a_folder_that_may_not_be_written_needs_nothing(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_files([GOOD], server.base_url, folder)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(download, "_lock", refuse)
    fetch_files([GOOD], "http://no-such-host.invalid/", folder)


def test_threads_that_fetch_at_once_share_one_download(server: Server, folder: Path) -> None:
    server.seconds_per_block = 0.005
    with ThreadPoolExecutor(6) as pool:
        for result in [pool.submit(fetch_files, [GOOD], server.base_url, folder) for _ in range(6)]:
            result.result()
    assert (folder / GOOD.name).read_bytes() == CONTENT
    assert server.ranges == [None]


@pytest.mark.slow
def test_processes_that_fetch_at_once_do_not_spoil_each_other(server: Server, folder: Path) -> None:
    server.seconds_per_block = 0.05
    program = (
        "import sys, pathlib; from mlplab.data.download import RemoteFile, fetch_files\n"
        "url, folder, name, checksum, size = sys.argv[1:]\n"
        "fetch_files([RemoteFile(name, 'md5', checksum, int(size))], url, pathlib.Path(folder))"
    )
    arguments = [server.base_url, str(folder), GOOD.name, GOOD.checksum, str(GOOD.num_bytes)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment)
    while not server.ranges and other.poll() is None:
        time.sleep(0.01)
    fetch_files([GOOD], server.base_url, folder)  # while the other process is at it
    assert other.wait(timeout=60) == 0
    assert (folder / GOOD.name).read_bytes() == CONTENT
    assert server.ranges == [None]
