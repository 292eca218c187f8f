"""The book's own server: on this machine alone, quiet, and gone with Ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from mlplab.errors import InvalidInput
from mlplab.pages.serve import serve


@pytest.fixture
def book(tmp_path):
    folder = tmp_path / "book"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>书</h1>", "utf-8")
    return folder


def test_it_serves_until_ctrl_c_and_ends_cleanly(book):
    command = [sys.executable, "-u", "-m", "mlplab", "book", "serve", "--out", str(book)]
    browser = {"BROWSER": "true", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**browser, **pythonpath()}
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        address = running.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        assert urllib.request.urlopen(address, timeout=30).read().decode() == "<h1>书</h1>"
        running.send_signal(signal.SIGINT)
        try:
            assert running.wait(30) == 0
        finally:
            running.kill()  # or the test would wait for it for ever
        assert running.stderr.read() == ""


def pythonpath() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(path for path in sys.path if path)}


def test_a_port_that_is_taken_is_told_in_one_line(book):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InvalidInput, match="--port must be free"):
            serve(book, port=taken.getsockname()[1], on_ready=print)


@pytest.mark.parametrize("port", [70000, -1])
def test_a_port_that_is_none_is_told_in_one_line(book, port):
    with pytest.raises(InvalidInput, match="--port must be free"):
        serve(book, port=port, on_ready=print)
