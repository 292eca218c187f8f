"""Commands on functions: activations, polynomials, and networks that are made of straight pieces."""

from __future__ import annotations

from typing import Annotated

import typer

from mlplab.cli.command import Commands
from mlplab.cli.options import PANEL, BatchFile, Inputs, Json, Model, OptionalInputs, Plot, Trust, print_json
from mlplab.cli.present import print_result, print_table, save_plot, told
from mlplab.errors import InvalidInput

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands()

Exact = Annotated[bool, typer.Option("--exact", help="In fractions: without any rounding.")]
CONDITIONED = 3.0  # inputs from -3 to 3, as the chapter's normal ones mostly are
Reach = Annotated[float, typer.Option(help="How far it goes from 0, to both sides.")]


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
def pieces(
    model: Model,
    input_: OptionalInputs = None,
    batch: BatchFile = None,
    reach: Reach = 1.0,
    exact: Exact = False,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Straight pieces of a ReLU network: over the whole line for one input, else along a segment of its input space.

    The segment goes along a random direction through 0, or from the first example of --batch to the second.
    """
    import numpy as np

    from mlplab.analysis.loading import load_batch, load_model
    from mlplab.analysis.piecewise_line import breakpoints, from_network
    from mlplab.rng import Stream

    if (batch is None) == (not input_):
        rule = "needs --batch FILE with two examples, or --input SHAPE"
        raise InvalidInput("the command", rule, "both" if batch else "neither")
    if batch is not None:
        examples = load_batch(batch)[0][0].numpy()
        if len(examples) < 2:
            raise InvalidInput("--batch", "needs two examples, the ends of the segment", len(examples))
        start, end = examples[0], examples[1]
    else:
        direction = Stream(0, "data").normal(_shape(input_ or [], least=1)) * _positive("--reach", reach)
        start, end = -direction, direction
    net = load_model(model, trust=trust).eval()
    if np.size(start) == 1:
        line = from_network(net, exact=exact)
        print_result(line, as_json=as_json, plot=plot)
        return
    found = breakpoints(net, start, end, exact=exact)
    if not as_json:
        typer.echo(
            f"{found.num_pieces:,} pieces; the activation pattern changes {len(found.pattern_changes):,} times\n"
        )
    print_result(found, as_json=as_json, plot=plot)


@commands.command(rich_help_panel=PANEL)
def regions(
    model: Model,
    input_: Inputs,
    reach: Reach = 1.0,
    max_regions: Annotated[
        int, typer.Option(help="Stop beyond so many; sooner where they would take 2 GiB.", metavar="N")
    ] = 100_000,
    exact: Exact = False,
    trust: Trust = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Linear regions and decision boundary of a ReLU network on a slice: a random plane beyond two inputs."""
    import numpy as np

    from mlplab.analysis.loading import load_model
    from mlplab.analysis.piecewise_regions import linear_regions
    from mlplab.rng import Stream

    shape = _shape(input_, least=2)
    origin = np.zeros(shape)
    first, second = np.eye(2) if shape == (2,) else (Stream(0, "data", layer=k).normal(shape) for k in (0, 1))
    reach = _positive("--reach", reach)
    extent = (-reach, reach, -reach, reach)
    net = load_model(model, trust=trust).eval()
    found = linear_regions(net, origin, first, second, extent=extent, exact=exact, max_regions=max_regions)
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
def polynomial(
    degree: Annotated[int, typer.Option(help="Largest degree.")] = 10,
    sizes: Annotated[
        str, typer.Option(help="Numbers of training examples.", metavar="N,N,...")
    ] = "15,30,100",
    draws: Annotated[int, typer.Option(help="Data sets to draw of each size.")] = 1000,
    noise: Annotated[float, typer.Option(help="Standard deviation of the noise on y.")] = 0.1,
    conditioning: Annotated[
        bool, typer.Option("--conditioning", help="Condition and largest stable rate of four bases instead.")
    ] = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Polynomial regression on the chapter's cubic: training and test error by degree and number of examples."""
    if conditioning:
        import numpy as np

        from mlplab.analysis.polynomial_basis import MAX_DEGREE
        from mlplab.analysis.polynomial_conditioning import conditioning as examine
        from mlplab.data.synthetic import whole_number

        degrees = range(1, whole_number("--degree", degree, 1, MAX_DEGREE) + 1)
        if not as_json:
            typer.echo(f"100 inputs on [-{CONDITIONED:g}, {CONDITIONED:g}], mapped on [-1, 1].\n")
        inputs = np.linspace(-CONDITIONED, CONDITIONED, 100)
        print_result(examine(inputs, degrees, domain=(-CONDITIONED, CONDITIONED)), as_json=as_json, plot=plot)
        return
    from mlplab.analysis.polynomial_curves import error_curves

    counts = [int(size) if size.strip().isdecimal() else 0 for size in sizes.split(",")]
    if min(counts) < 1:
        raise InvalidInput("--sizes", "must be positive whole numbers with commas", sizes, "Write 15,30,100")
    if degree < 0:
        raise InvalidInput("--degree", "must be a whole number of at least 0", degree)
    found = error_curves(range(degree + 1), counts, num_draws=draws, noise_std=noise)
    if plot:
        save_plot(found.plot(), plot)
    if as_json:
        print_json(found.to_dict())
        return
    table = found.table()
    # The mean of test errors near degree n says little: their tails are long.
    shown = table[table["statistic"] == table["part"].map({"train": "mean", "test": "geometric mean"})]
    print_table(shown[["size", "part", "degree", "statistic", "estimate", "ci_low", "ci_high", "expected"]])
    told(plot)


def _shape(input_: list[str], *, least: int) -> tuple[int, ...]:
    """Of one example."""
    import numpy as np

    from mlplab.analysis.loading import parse_input

    shapes = [tuple(parse_input(text).shape) for text in input_]
    if len(shapes) != 1 or len(shapes[0]) < 2 or np.prod(shapes[0][1:]) < least:
        rule = f"must be one shape: a batch, and at least {least} input{'s' if least > 1 else ''}"
        raise InvalidInput("--input", rule, input_, f"Write 1,{least}")
    return shapes[0][1:]


def _positive(owner: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise InvalidInput(owner, "must be positive and finite", value)
    return value
