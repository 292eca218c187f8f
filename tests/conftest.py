"""What holds for every test: one thread, folders of its own instead of the user's, and skipped tests that say why."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Read when torch and BLAS are first imported, here and in the processes that tests start. Two workers with one
# thread each beat one with two, and the order of sums does not hang on the machine.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

# A shell that starts us in the background has Ctrl-C ignored, here and in the processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_REAL_DATA = os.environ.get("MLPLAB_DATA")


def _set_own_folders(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("MLPLAB_CACHE", str(home / ".cache" / "mlplab"))
    monkeypatch.delenv("MLPLAB_DATA", raising=False)


@pytest.fixture(scope="session", autouse=True)
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[Path]]:
    """Empty homes, one after the other. Those that pytest makes are numbered by a look at all before.

    Fixtures of a module or a session are made before those of a test: they get the first one.
    """
    folder = tmp_path_factory.mktemp("homes")
    paths = (folder / str(number) for number in itertools.count())
    with pytest.MonkeyPatch.context() as monkeypatch:
        _set_own_folders(monkeypatch, next(paths))
        yield paths


@pytest.fixture(autouse=True)
def own_folders(homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home and cache, and no MLPLAB_DATA: no test reads or writes what the user has on the machine."""
    _set_own_folders(monkeypatch, next(homes))


@pytest.fixture
def real_data(own_folders: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the real Fashion-MNIST and house prices, where MLPLAB_DATA named one at the start."""
    if not _REAL_DATA:
        pytest.skip("needs the real data: set MLPLAB_DATA to their folder")
    monkeypatch.setenv("MLPLAB_DATA", _REAL_DATA)
    return Path(_REAL_DATA)


@pytest.fixture
def mlplab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must succeed, in this process and on a wide terminal; returns what it printed."""
    from mlplab import cli

    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["mlplab", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert not ended.value.code, said.err
        return said.out

    return run


# What a program uses at most is told as no less than what its parent did, and a worker of pytest grows to a gigabyte.
# So a small process starts it.
_START = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
sys.stdout.buffer.write(b"%d\\n" % peak + done.stdout)
sys.exit(done.returncode)
"""


@pytest.fixture
def run_measured() -> Callable[..., tuple[str, int]]:
    """Runs Python with arguments in a process of its own: what it wrote, and the most memory it took, in bytes.

    Keywords are those of subprocess.run. Raises CalledProcessError where it fails.
    """

    def run(*arguments: str, **options: object) -> tuple[str, int]:
        done = subprocess.run(
            [sys.executable, "-S", "-c", _START, sys.executable, *arguments],
            stdout=subprocess.PIPE, text=True, check=True, **options,
        )  # fmt: skip
        peak, _, written = done.stdout.partition("\n")
        return written, int(peak)

    return run


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch  # here: it takes two seconds

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    if reasons:
        terminalreporter.section("skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count} x {reason}")
