"""Serves the book to a browser on this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlplab.errors import InvalidInput

HOST = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads a line for each file."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # a book that is built anew is seen anew
        super().end_headers()


def serve(folder: Path, *, port: int = 0, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `on_ready` is told the address; port 0 takes any that is free.

    Raises InvalidInput for a port that is taken or not allowed.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Quiet, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInput(
            "--port", f"must be free ({reason})", port, "Without --port a free one is found"
        ) from error
    with server:
        on_ready(f"http://{HOST}:{server.server_address[1]}/")
        with suppress(KeyboardInterrupt):  # that is how it ends
            server.serve_forever()
