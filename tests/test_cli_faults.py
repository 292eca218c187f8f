"""The command in a process of its own, when it is stopped, killed, or the disk or the reader goes away."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlplab.study import default_path

COMMAND = [sys.executable, "-m", "mlplab"]
# Several chunks, each of half a second: what has finished and what has not are both there when it is stopped.
NUM_SEEDS = 60
NUM_RUNS = 2 * NUM_SEEDS  # with dropout and without, where it is stopped
NUM_LATER = 2  # those of another study, which comes after
EXPERIMENT = [
    "answer",
    "4.6.3",
    "--seeds",
    str(NUM_SEEDS),
    "--set",
    "hidden_sizes=128,128",
    "--set",
    "epochs=1",
]


def start(*arguments: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def stored(path: Path) -> dict[str, tuple]:
    """Digest -> what would be another after a second training."""
    if not path.exists():
        return {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        rows = connection.execute("SELECT digest, created, seconds, checksum FROM runs").fetchall()
    except sqlite3.OperationalError:  # it has no tables yet
        return {}
    finally:
        connection.close()
    return {row[0]: row[1:] for row in rows}


def wait_for_some(process: subprocess.Popen[str]) -> None:
    """Until a chunk is stored."""
    deadline = time.monotonic() + 120
    while not stored(default_path()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_law_5_what_finished_is_kept_and_only_the_rest_is_trained(how):
    process = start(*EXPERIMENT)
    wait_for_some(process)
    process.send_signal(how)
    out, err = process.communicate(timeout=120)
    kept = stored(default_path())
    assert 0 < len(kept) < NUM_RUNS
    assert out == ""
    if how == signal.SIGINT:
        assert process.returncode == 130
        some = f"{len(kept)} of {NUM_RUNS} runs had finished and are kept"
        assert err == f"mlplab: stopped. {some}: the same command goes on from there.\n"
    again = start(*EXPERIMENT)
    out, err = again.communicate(timeout=300)
    assert (again.returncode, err) == (0, "")
    after = stored(default_path())
    assert len(after) == NUM_RUNS + NUM_LATER
    assert kept.items() <= after.items()


@pytest.mark.slow
def test_law_6_one_line_for_a_full_disk():
    """No file may grow beyond 300 kB: the store's cannot hold the weights of all runs."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    # Nothing else is written before the store is.
    small = ["answer", "4.6.1", "--seeds", "20", "--set", "hidden_sizes=8,8", "--set", "epochs=1"]
    process = start(*small, preexec_fn=limit, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("mlplab: ")
    assert "disk" in err


@pytest.mark.slow
def test_law_6_one_line_where_a_figure_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    process = start("answer", "4.1.1", env=os.environ | {"MLPLAB_CACHE": str(tmp_path / "file" / "cache")})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1, err
    assert "Not a directory" in err


# Short output stays in a buffer until the end; long output does not.
SHOWN = ["data", "show", "digits", "--json"]


@pytest.mark.parametrize("arguments", [["list"], SHOWN], ids=" ".join)
def test_a_reader_who_leaves_is_no_error(arguments):
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "w") as nobody:
        done = subprocess.run(
            [*COMMAND, *arguments], stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_law_6_one_line_where_the_output_cannot_be_written():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "No space left on device" in done.stderr
