"""Commands on how a model behaves: activations, symmetry, curvature, signals over depth, and what ails it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlplab.cli.options import (
    PANEL,
    BatchFile,
    Inputs,
    Json,
    Model,
    OptionalInputs,
    Plot,
    Trust,
    print_json,
)
from mlplab.cli.present import check_plot, print_result, print_table, save_plot, told
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mlplab.analysis.step import Loss

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = typer.Typer()

Objective = Annotated[
    str, typer.Option("--loss", help="cross_entropy, mse, l1, bce_with_logits, mean.", metavar="NAME")
]


@commands.command(rich_help_panel=PANEL)
def activation(
    name: Annotated[
        str | None, typer.Argument(help="One function, with its kinks and limits.", show_default=False)
    ] = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Activation functions: formula, derivative, kinks, limits, and what PyTorch returns there."""
    from mlplab.analysis.activations import catalogue, examine_activation

    check_plot(plot)
    if name is None:
        found = catalogue()
        if as_json or plot:
            print_result(found, as_json=as_json, plot=plot)
        else:
            print_table(found.table()[["activation", "formula", "derivative", "kinks", "torch_slope"]])
        return
    facts = examine_activation(name)
    if not as_json:
        typer.echo(f"f(x)  = {facts.formula}\nf'(x) = {facts.derivative}")
        for symbol, slope in facts.parameter_derivatives.items():
            typer.echo(f"df/d{symbol} = {slope}")
        typer.echo()
    print_result(facts, as_json=as_json, plot=plot)


@commands.command(rich_help_panel=PANEL)
def symmetry(
    model: Model, input_: Inputs, trust: Trust = False, plot: Plot = None, as_json: Json = False
) -> None:
    """Which units, as the model is initialised, can never become different under training. Status 1 where some are."""
    from mlplab.analysis.loading import load_model, parse_input, random_batch
    from mlplab.analysis.symmetry import symmetry as find

    check_plot(plot)
    batch = random_batch([parse_input(text) for text in input_])
    found = find(load_model(model, trust=trust), batch)
    print_result(found, as_json=as_json, plot=plot)
    if found.stuck:
        raise typer.Exit(1)


@commands.command(rich_help_panel=PANEL)
def curvature(
    model: Model,
    input_: OptionalInputs = None,
    batch: BatchFile = None,
    loss: Objective = "cross_entropy",
    edges: Annotated[int, typer.Option(help="Eigenvalues at each end of the spectrum.")] = 1,
    cost: Annotated[
        bool, typer.Option("--cost", help="Measure what first and second derivatives cost.")
    ] = False,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Edges of the Hessian's spectrum, its trace, the largest stable rate; or what second derivatives cost."""
    from mlplab.analysis import curvature as tool

    check_plot(plot)
    net, given, objective = _numbers(model, input_, batch, loss, trust=trust, as_json=as_json)
    if cost:
        print_result(
            tool.derivative_cost(net, given, objective), as_json=as_json, plot=plot, in_bytes=("peak_bytes",)
        )
    else:
        print_result(tool.curvature(net, given, objective, k=edges), as_json=as_json, plot=plot)


@commands.command(rich_help_panel=PANEL)
def signals(
    model: Model,
    input_: Inputs,
    seeds: Annotated[int, typer.Option(help="Models to draw.")] = 10,
    jacobian: Annotated[
        bool, typer.Option("--jacobian", help="Singular values of the input-output Jacobian instead.")
    ] = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """How signals and gradients run through a freshly drawn model, beside the mean-field prediction."""
    from mlplab.analysis.loading import load_model, parse_input, random_batch

    check_plot(plot)
    x = random_batch([parse_input(text) for text in input_])[0]
    if jacobian:
        from mlplab.analysis.spectrum import jacobian_spectrum

        print_result(jacobian_spectrum(load_model(model), x[:4]), as_json=as_json, plot=plot)
        return
    from mlplab.analysis.mean_field import signal_propagation

    if seeds < 1:
        raise InvalidInput("--seeds", "must be at least 1", seeds)
    found = signal_propagation(lambda: load_model(model), x, seeds=range(seeds))
    print_result(found, as_json=as_json, plot=plot)


@commands.command(rich_help_panel=PANEL)
def regions(
    model: Model,
    input_: Inputs,
    reach: Annotated[
        float, typer.Option(help="The slice goes from -reach to reach in both directions.")
    ] = 1.0,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Linear regions and decision boundary of a ReLU network on a slice: a random plane beyond two inputs."""
    import numpy as np

    from mlplab.analysis.loading import load_model, parse_input
    from mlplab.analysis.piecewise_regions import linear_regions
    from mlplab.rng import Stream

    check_plot(plot)
    shapes = [tuple(parse_input(text).shape[1:]) for text in input_]
    if len(shapes) != 1 or np.prod(shapes[0]) < 2:
        raise InvalidInput(
            "--input", "must be one shape with a batch and two inputs at least", input_, "Write 1,2"
        )
    origin = np.zeros(shapes[0])
    first, second = (
        np.eye(2) if shapes[0] == (2,) else (Stream(0, "data", layer=k).normal(shapes[0]) for k in (0, 1))
    )
    extent = (-reach, reach, -reach, reach)
    found = linear_regions(load_model(model, trust=trust).eval(), origin, first, second, extent=extent)
    if plot:
        save_plot(found.plot(), plot)
    if as_json:
        print_json(found.to_dict())
        return
    places = len(found.boundary)
    typer.echo(f"{found.num_regions:,} linear regions, {found.num_patterns:,} activation patterns")
    typer.echo(f"decision boundary: {places:,} straight segments\n")
    largest = found.table().sort_values("area", ascending=False).head(10)
    print_table(largest.drop(columns=[name for name in largest if str(name).startswith(("constant", "d_d"))]))
    told(plot)


@commands.command(rich_help_panel=PANEL)
def diagnose(
    model: Model,
    input_: OptionalInputs = None,
    batch: BatchFile = None,
    loss: Objective = "cross_entropy",
    learning_rate: Annotated[
        float | None, typer.Option(help="Of plain gradient descent: judged too.", show_default=False)
    ] = None,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """What keeps a model from learning on a batch, by name, with the fix. Status 1 where something was found."""
    from mlplab.analysis.diagnose import diagnose as look

    check_plot(plot)
    net, given, objective = _numbers(model, input_, batch, loss, trust=trust, as_json=as_json)
    found = look(net, given, objective, learning_rate=learning_rate)
    if plot:
        save_plot(found.plot(), plot)
    if as_json:
        print_json(found.to_dict())
    else:
        for finding in found.findings:
            typer.echo(f"{finding}\n")
        print_table(found.layers)
        typer.echo("" if found.findings else "\nNothing was found.")
        for cause, why in found.not_judged.items():
            typer.echo(f"Not judged: {cause} ({why}).")
        told(plot)
    if found.findings:
        raise typer.Exit(1)


def _numbers(
    model: str, input_: list[str] | None, batch: str | None, loss: str, *, trust: bool, as_json: bool
) -> tuple[nn.Module, tuple[tuple[Tensor, ...], Tensor], Loss]:
    """The model, a batch of numbers from a file or drawn, and the loss."""
    import torch

    from mlplab.analysis.loading import load_batch, load_model, parse_input, random_batch
    from mlplab.analysis.objective import mean_of, named_loss, random_targets
    from mlplab.analysis.step import fake_output

    if (batch is None) == (not input_):
        rule = "needs --batch FILE, or --input SHAPE for random numbers"
        raise InvalidInput("the command", rule, "both" if batch else "neither")
    objective = named_loss(loss) or mean_of
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = load_model(model, trust=trust)
    if batch is not None:
        inputs, targets = load_batch(batch)
        if not as_json:
            typer.echo(f"{len(targets)} examples of {Path(batch).name}\n")
        return net, (inputs, targets), objective
    inputs = random_batch([parse_input(text) for text in input_ or ()])
    targets = random_targets(loss, fake_output(net, inputs))
    if not as_json:
        typer.echo("Random inputs and targets: figures of your data need --batch FILE.\n")
    return net, (inputs, targets), objective
