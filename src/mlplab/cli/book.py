"""Commands on the book: build it, open it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlplab.cli.command import Commands, Output
from mlplab.cli.options import open_shelf

commands = Commands(help="The book: all answers with their evidence.", no_args_is_help=True)
Out = Annotated[
    Path, typer.Option("--out", help="The book's folder.", metavar="FOLDER"), Output(is_folder=True)
]
HERE = Path("dist/book")


@commands.command()
def build(out: Out = HERE) -> None:
    """Build the book from the published evidence, as pages and as PDF.

    Fails where a claim no longer holds, or two pages contradict each other.
    """
    for path in _built(out):
        typer.echo(path)


@commands.command()
def serve(
    out: Out = HERE,
    port: Annotated[
        int, typer.Option("--port", help="A port; any free one by default.", show_default=False)
    ] = 0,
) -> None:
    """Open the book in a browser, with search; builds it first where there is none. Ctrl-C ends it."""
    import webbrowser

    from mlplab.pages.serve import serve as serve_folder

    if not (out / "index.html").exists():
        _built(out)

    def tell(address: str) -> None:
        typer.echo(f"{address}  (Ctrl-C ends it)")
        webbrowser.open(address)

    serve_folder(out, port=port, on_ready=tell)


def _built(out: Path) -> list[Path]:
    from mlplab.cli.bars import stage_bar
    from mlplab.pages.build import build as build_book

    book = open_shelf().first
    with stage_bar() as on_progress:
        return build_book(book, out, on_progress=on_progress)
