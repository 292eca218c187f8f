"""Commands on how a model behaves: symmetry, curvature, signals over depth, and what ails it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlplab.cli.command import Commands
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
from mlplab.cli.present import print_result, print_table, save_plot, told
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mlplab.analysis.step import Loss

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands()

EXAMPLES = 4  # of which a Jacobian is computed

Objective = Annotated[
    str, typer.Option("--loss", help="cross_entropy, mse, l1, bce_with_logits, mean.", metavar="NAME")
]


@commands.command(rich_help_panel=PANEL)
def symmetry(
    model: Model, input_: Inputs, trust: Trust = False, plot: Plot = None, as_json: Json = False
) -> None:
    """Which units, as the model is initialised, can never become different under training.

    Status 0: none; 1: some; 2: error; 3: a crash, which is no verdict.
    """
    from mlplab.analysis.loading import load_model, parse_input, random_batch
    from mlplab.analysis.symmetry import symmetry as find

    batch = random_batch([parse_input(text) for text in input_])
    found = find(load_model(model, trust=trust), batch)
    print_result(found, as_json=as_json, plot=plot)
    if not (found.groups or found.not_judged or as_json):
        typer.echo(
            "No hidden units: the model returns all that it computes, and the loss tells outputs apart."
        )
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
    from mlplab.analysis.curvature import curvature as examine
    from mlplab.analysis.derivative_cost import derivative_cost
    from mlplab.analysis.module_kinds import without_noise

    net, given, objective = _numbers(model, input_, batch, loss, trust=trust, as_json=as_json)
    noise = without_noise(net)
    if noise and not as_json:
        typer.echo(f"Dropout is off, since a loss that is drawn anew has no curvature: {', '.join(noise)}.\n")
    if cost:
        found = derivative_cost(net, given, objective)
        print_result(found, as_json=as_json, plot=plot, in_bytes=("peak_bytes",))
    else:
        print_result(examine(net, given, objective, k=edges), as_json=as_json, plot=plot)


@commands.command(rich_help_panel=PANEL)
def signals(
    model: Model,
    input_: Inputs,
    seeds: Annotated[int, typer.Option(help="Models to draw.")] = 10,
    jacobian: Annotated[
        bool, typer.Option("--jacobian", help="Singular values of the input-output Jacobian instead.")
    ] = False,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """How signals and gradients run through a freshly drawn model, beside the mean-field prediction."""
    import torch

    from mlplab.analysis.loading import load_model, parse_input, random_batch

    if len(input_) != 1:
        raise InvalidInput("--input", "must be given once: the signals of one tensor are followed", input_)
    if seeds < 1:
        raise InvalidInput("--seeds", "must be at least 1", seeds)
    x = random_batch([parse_input(text) for text in input_])[0]
    if jacobian:
        from mlplab.analysis.spectrum import jacobian_spectrum

        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = load_model(model, trust=trust).eval()  # an example at a time, without dropout
        spectrum = jacobian_spectrum(net, x[:EXAMPLES])
        print_result(spectrum, as_json=as_json, plot=plot)
        if spectrum.left_out and not as_json:
            typer.echo(f"\nToo large, and left out: {', '.join(spectrum.left_out)}.")
        return
    from mlplab.analysis.signal_propagation import signal_propagation

    found = signal_propagation(lambda: load_model(model, trust=trust), x, seeds=range(seeds))
    print_result(found, as_json=as_json, plot=plot)


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
    """What keeps a model from learning on a batch, by name, with the fix.

    Status 0: nothing was found; 1: something; 2: error; 3: a crash, which is no verdict.
    """
    from mlplab.analysis.diagnose import diagnose as look

    net, given, objective = _numbers(model, input_, batch, loss, trust=trust, as_json=as_json)
    found = look(net, given, objective, learning_rate=learning_rate)
    if plot:
        save_plot(found.plot(), plot)
    if as_json:
        print_json(found.to_dict())
    else:
        for line in found.coverage():
            typer.echo(line)
        typer.echo()
        for finding in found.findings:
            typer.echo(f"{finding}\n")
        print_table(found.layers)
        where = f" in {found.coverage()[0].removeprefix('Looked at ')}" if found.unseen else "."
        typer.echo("" if found.findings else f"\nNothing was found{where}")
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
    from mlplab.analysis.objective import named_loss, random_targets
    from mlplab.analysis.step import fake_output, mean_of

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
