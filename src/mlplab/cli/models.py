"""Commands on a model: what is in it, what it costs, how it behaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlplab.cli.command import Commands, Output
from mlplab.cli.options import PANEL, Inputs, Json, LossName, Model, Plot, Trust, print_json
from mlplab.cli.present import print_table, save_plot, told
from mlplab.errors import InvalidInput
from mlplab.outputs import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mlplab.analysis.step import Loss

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands()

DRAWINGS = (".dot", ".svg", ".html")
EQUATIONS = (".tex",)


@commands.command(rich_help_panel=PANEL)
def memory(
    model: Model,
    input_: Inputs,
    loss: LossName = "mean",
    optimizer: Annotated[
        str, typer.Option(help="none, sgd, momentum, adam, adamw.", metavar="NAME")
    ] = "adam",
    budget: Annotated[
        str | None,
        typer.Option(help="Find the largest batch that trains in so much, e.g. 8GiB.", metavar="BYTES"),
    ] = None,
    savings: Annotated[
        bool, typer.Option("--savings", help="What checkpointing and the like would spare.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also run one real step and measure it.")
    ] = False,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Where the memory goes, in prediction and training, found without allocating any."""
    from mlplab.analysis import memory as tool
    from mlplab.analysis.loading import parse_bytes
    from mlplab.analysis.memory_budget import largest_batch
    from mlplab.analysis.memory_savings import savings as find_savings

    limit = None if budget is None else parse_bytes(budget)
    tool.named_optimizer(optimizer)
    net, inputs, targets, aim = _question(model, input_, loss, trust=trust, real=measure)
    result = tool.memory(net, inputs, targets, aim, optimizer=optimizer, measure=measure)
    more = find_savings(net, inputs, targets, aim, optimizer=optimizer) if savings else None
    largest = None if limit is None else largest_batch(net, inputs, limit, targets, aim, optimizer=optimizer)
    if plot:
        save_plot(result.plot(), plot)
    if as_json:
        found = result.to_dict() | (more.to_dict() if more else {})
        print_json(found | ({} if limit is None else {"budget": limit, "largest_batch": largest}))
        return
    print_table(result.table(), in_bytes=("prediction", "training", "whole_step"))
    typer.echo()
    columns = ("parameters", "gradients", "optimizer_state", "saved", "temporaries")
    print_table(result.module_table(), in_bytes=columns)
    typer.echo(f"\nThe peak of training is {result.training.peak_at}.")
    if result.measured:
        off = result.training.peak / result.measured.peak - 1
        typer.echo(
            f"Measured: peak {result.measured.peak:,} bytes (the prediction is {off:+.1%} off), "
            f"saved {result.measured.saved:,} bytes."
        )
    if more:
        typer.echo()
        print_table(more.table(), in_bytes=("peak", "saved"))
    if limit is not None:
        typer.echo(f"\nLargest batch that trains within {limit:,} bytes: {largest:,}.")
    for note in (*result.notes, *(more.notes if more else ())):
        typer.echo(f"Note: {note}")
    told(plot)


@commands.command(rich_help_panel=PANEL)
def graph(
    model: Model,
    input_: Inputs,
    loss: LossName = "mean",
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Write .dot, or .svg or .html (extra [graph]); equations as .tex.",
            metavar="FILE",
        ),
        Output((*DRAWINGS, *EQUATIONS)),
    ] = None,
    equations: Annotated[
        bool,
        typer.Option("--equations", help="Forward and backward of an MLP in LaTeX, checked with numbers."),
    ] = False,
    trust: Trust = False,
    as_json: Json = False,
) -> None:
    """The real forward and backward program, operation by operation, with shapes; what autograd keeps is marked."""
    from mlplab.analysis import graph as tool

    if out is not None:
        check_drawing(out, EQUATIONS if equations else DRAWINGS)
    if equations:
        from mlplab.analysis.equations import equations as derive
        from mlplab.analysis.loading import load_model

        net = load_model(model, trust=trust)
        found = derive(net, loss=loss if loss != "mean" else "cross_entropy")
        if out:
            write_whole(out, found.latex() + "\n")
        print_json(found.to_dict()) if as_json else typer.echo(found.latex())
        return
    net, inputs, targets, aim = _question(model, input_, loss, trust=trust)
    result = tool.graph(net, inputs, targets, aim)
    drawing = result.plot()
    if out:
        drawing.save(out)
    if as_json:
        print_json(result.to_dict())
        return
    table = result.table()
    table["result"] = [
        f"{'x'.join(map(str, shape)) or 'scalar'} {dtype}"
        for shape, dtype in zip(table["shape"], table["dtype"], strict=True)
    ]
    columns = ["number", "phase", "module", "name", "inputs", "result", "num_bytes", "saved"]
    print_table(table[columns].rename(columns={"num_bytes": "size"}), in_bytes=("size",))
    told(out)


@commands.command(rich_help_panel=PANEL)
def partition(
    model: Model,
    input_: Inputs,
    stages: Annotated[int, typer.Option(help="Number of stages, each on a device.")] = 2,
    microbatches: Annotated[int, typer.Option(help="Micro-batches that a batch is cut into.")] = 4,
    by: Annotated[str, typer.Option(help="What to balance.", metavar="time|memory")] = "time",
    schedule: Annotated[str, typer.Option(help="Order of the work.", metavar="gpipe|1f1b")] = "1f1b",
    flatten: Annotated[bool, typer.Option("--flatten", help="Open nested Sequential containers.")] = False,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Cut a sequential model into balanced stages, and draw the pipeline's timeline with its bubble."""
    from typing import cast

    from mlplab.analysis.loading import load_model, parse_input, random_batch
    from mlplab.analysis.partition import partition as split_model

    shapes = [parse_input(text) for text in input_]
    if len(shapes) != 1:
        raise InvalidInput("--input", "must be given once: a sequential model takes one tensor", input_)
    split = split_model(
        load_model(model, trust=trust), stages, random_batch(shapes)[0],
        by=cast("Any", by), num_microbatches=microbatches, schedule=cast("Any", schedule), flatten=flatten,
    )  # fmt: skip
    line = split.timeline()
    if plot:
        save_plot(line.plot(unit="s"), plot)
    if as_json:
        print_json(split.to_dict() | {"timeline": line.to_dict()})
        return
    columns = [name for name in split.table().columns if name != "cost"]
    print_table(split.table()[columns], in_bytes=("state_bytes", "held_bytes", "memory_bytes"))
    typer.echo(f"\nBubble under {schedule}: {float(line.bubble):.1%} of the devices' time is spent waiting.")
    told(plot)


def check_drawing(path: str, suffixes: tuple[str, ...]) -> None:
    """Before anything is computed. Raises InvalidInput for another suffix, MissingExtra where Graphviz is needed."""
    from mlplab.errors import import_extra

    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        raise InvalidInput("--out", f"must end in {' or '.join(suffixes)}", path)
    if suffix in (".svg", ".html"):
        import_extra("pygraphviz", what="A drawing of a graph", extra="graph")


def _question(
    model: str, input_: list[str], loss: str, *, trust: bool, real: bool = False
) -> tuple[nn.Module, tuple[Tensor, ...], Tensor | None, Loss | None]:
    """The model, inputs that are shapes alone (or numbers, if `real`), targets that fit, and the loss."""
    from mlplab.analysis.loading import load_model, parse_input, random_batch
    from mlplab.analysis.objective import named_loss, targets_like
    from mlplab.analysis.step import fake_output

    aim, shapes = named_loss(loss), tuple(parse_input(text) for text in input_)
    net = load_model(model, trust=trust, fake=not real)
    output = None if aim is None else fake_output(net, shapes)
    return net, random_batch(shapes) if real else shapes, targets_like(loss, output), aim
