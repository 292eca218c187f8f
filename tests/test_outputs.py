"""Files are written whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mlplab.errors import OutputError
from mlplab.outputs import whole, write_whole


@pytest.fixture
def path(tmp_path) -> Path:
    """A file that holds `old`."""
    path = tmp_path / "out.csv"
    path.write_text("old")
    return path


def test_a_file_is_replaced_and_nothing_lies_beside_it(path):
    write_whole(path, "neu ü\n")
    assert path.read_text("utf-8") == "neu ü\n"
    assert os.listdir(path.parent) == ["out.csv"]  # noqa: PTH208


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(path, error):
    def stop(part: Path) -> None:
        part.write_text("half")
        raise error

    with pytest.raises(error), whole(path) as part:
        stop(part)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_is_one_line(path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"out\.csv cannot be written: File too large\.$"):
            write_whole(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_process_leaves_the_old_file(path):
    program = (
        "import os, signal, sys\nfrom mlplab.outputs import whole\n"
        "with whole(sys.argv[1]) as part:\n"
        "    part.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_the_modes_of_a_file_are_those_of_any_other(path):
    path.chmod(0o600)
    write_whole(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (path.parent / "plain").write_text("")
    write_whole(path.parent / "first", "new")
    modes = {(path.parent / name).stat().st_mode for name in ("plain", "first")}
    assert len(modes) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_a_read_only_file_is_not_replaced(path):
    path.chmod(0o400)
    with pytest.raises(OutputError, match="read-only"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_a_link_stays_a_link(path):
    link = path.parent / "link.csv"
    link.symlink_to(path)
    write_whole(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"


def test_a_name_may_be_as_long_as_names_can_be(tmp_path):
    write_whole(tmp_path / ("x" * 255), "new")


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="needs /dev/null")
def test_a_device_is_written_to_and_stays_one(tmp_path):
    (tmp_path / "null.csv").symlink_to("/dev/null")
    write_whole(tmp_path / "null.csv", "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_folder_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"out\.csv cannot be written: No such file"):
        write_whole(tmp_path / "none" / "out.csv", "new")
