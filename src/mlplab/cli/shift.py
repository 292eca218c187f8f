"""Commands on data that may have shifted: find a shift, and weigh rows against it."""

from __future__ import annotations

from typing import Annotated

import typer

from mlplab.cli.command import Commands, Output, Source
from mlplab.cli.options import PAGES, Json, print_json
from mlplab.cli.present import check_report, print_table

# Modules that load pandas are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands(
    help="Data that may have shifted: find out where, and correct for it.", no_args_is_help=True
)


@commands.command("check")
def check(
    reference: Annotated[
        str,
        typer.Argument(help="What the model was trained on: .csv or .parquet.", metavar="REFERENCE"),
        Source(),
    ],
    current: Annotated[str, typer.Argument(help="What it sees now.", metavar="CURRENT"), Source()],
    target: Annotated[
        str | None,
        typer.Option(help="Column that the model predicts: compared on its own.", metavar="COLUMN"),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Column that is not looked at. May be repeated.", metavar="COLUMN"),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance of a false alarm, over all tests together.")] = 0.05,
    report: Annotated[
        str | None, typer.Option(help="Write a page with pictures.", metavar="FILE.html"), Output(PAGES)
    ] = None,
    as_json: Json = False,
) -> None:
    """Has a table shifted? Status 0: no shift found; 1: shift; 2: error; 3: a crash, no verdict."""
    check_report(report)
    from mlplab.cli.bars import stage_bar
    from mlplab.shift.check import check_alpha, check_files

    check_alpha("--alpha", alpha)

    with stage_bar() as on_stage:
        found = check_files(
            reference, current, target=target, ignore=ignore or [], alpha=alpha, on_stage=on_stage
        )
    if report is not None:
        from mlplab.shift.report import write_report

        write_report(found, report)
    if as_json:
        print_json(found.to_dict())
    else:
        (before, rows), (now, more) = found.files
        typer.echo(
            f"{'Shift' if found.is_shift else 'No shift found'}: {now} ({more:,} rows) against {before} ({rows:,})"
        )
        for notice in found.notices:
            typer.echo(f"Warning: {notice}")
        typer.echo()
        print_table(found.table().drop(columns=["asks"]))
        typer.echo()
        print_table(found.driver_table(), title="Features, most shifted first")
        if report is not None:
            typer.echo(f"\nReport: {report}")
    if found.is_shift:
        raise typer.Exit(1)


@commands.command("weights")
def weights(
    source: Annotated[
        str, typer.Argument(help="Rows to be weighed: .csv or .parquet.", metavar="SOURCE"), Source()
    ],
    target: Annotated[
        str, typer.Argument(help="Rows that they shall stand for.", metavar="TARGET"), Source()
    ],
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="Write the weights: .parquet or .csv.", metavar="FILE"),
        Output((".parquet", ".csv")),
    ],
    method: Annotated[
        str, typer.Option(help="How they are found.", metavar="classifier|ulsif|rulsif|kliep|kmm")
    ] = "classifier",
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Column that is no feature, such as the label. May be repeated.", metavar="COLUMN"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Weigh each row of a table, so that it stands for another.

    Status 0: done; 1: done, but it will hurt; 2: error; 3: a crash.
    """
    from mlplab.cli.bars import stage_bar
    from mlplab.shift.weigh import check_output, weigh_files, write_weights

    check_output(out)
    with stage_bar() as on_stage:
        found = weigh_files(source, target, method=method, ignore=ignore or [], on_stage=on_stage)
    write_weights(found.correction, out)
    correction = found.correction
    if as_json:
        print_json(found.to_dict() | {"out": out})
    else:
        (before, rows), (now, more) = found.source, found.target
        typer.echo(f"Weights of {before} ({rows:,} rows) towards {now} ({more:,})")
        for notice in found.notices:
            typer.echo(f"Warning: {notice}")
        for name, text in correction.warnings.items():
            typer.echo(f"Warning: [{name}] {text}")
        typer.echo()
        columns = [
            "method",
            "effective_sample_size",
            "largest_weight",
            "largest_share",
            "pareto_k",
            "num_clipped",
        ]
        print_table(correction.table()[[*columns, "uncovered"]])
        typer.echo(f"\nWeights: {out}")
    if correction.will_hurt:
        raise typer.Exit(1)
