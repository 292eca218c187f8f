"""Commands on data sets: list, show, fetch."""

from __future__ import annotations

import typer

from mlplab.cli.command import Commands
from mlplab.cli.options import Json, print_json

commands = Commands(help="Data sets: what there is, where it lies, and how to get it.", no_args_is_help=True)


@commands.command("list")
def data_list(as_json: Json = False) -> None:
    """List the data sets."""
    from mlplab import data
    from mlplab.pages import datasets, terminal

    infos = [data.info(name) for name in data.names()]
    if as_json:
        print_json([datasets.as_dict(info) for info in infos])
    else:
        terminal.console().print(datasets.listed(infos))


@commands.command("show")
def data_show(name: str, as_json: Json = False) -> None:
    """Show a data set: sizes, splits, fingerprint, licence, where it lies."""
    from mlplab import data
    from mlplab.pages import datasets, terminal

    info, shown = data.info(name), data.load(name)
    if as_json:
        print_json(datasets.as_dict(info, shown))
    else:
        terminal.console().print(datasets.shown(info, shown))


@commands.command("fetch")
def data_fetch(name: str) -> None:
    """Download a data set into the cache. What is already there is checked, and kept."""
    from mlplab import data
    from mlplab.cli.bars import download_bar

    with download_bar(name) as on_bytes:
        path = data.fetch(name, on_bytes)
    typer.echo(path)
