"""Commands on a table of one's own: compare, study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlplab.cli.command import Commands, Output, Source
from mlplab.cli.options import (
    PAGES,
    Address,
    Executor,
    Json,
    LogDir,
    Sets,
    print_json,
    progress,
    read_knobs,
    scalar_log,
    trainer,
)  # fmt: skip
from mlplab.cli.present import check_report
from mlplab.errors import InvalidInput, UnknownName
from mlplab.outputs import whole, write_whole

if TYPE_CHECKING:
    from mlplab.study.comparison import Outcome
    from mlplab.study.plan import Plan

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands()
study_commands = Commands(no_args_is_help=True)

PANEL = "Your question"
Report = Annotated[
    str | None,
    typer.Option("--report", help="Write everything into one HTML file.", metavar="FILE"),
    Output(PAGES),
]
Csv = Annotated[
    str | None, typer.Option("--csv", help="Write a row for each run.", metavar="FILE"), Output((".csv",))
]


def _files(file: str) -> list[str | Path]:
    """What a TOML file stands for: itself, and the table that it names."""
    from mlplab.study.plan import Plan

    return [file, Plan.read(Path(file)).file]


def _files_of_study(name: str) -> list[str | Path]:
    """What a study is read from."""
    from mlplab.study import register
    from mlplab.study.store import default_path

    return [*(_files(name) if name.endswith(".toml") else [register.entry(name).plan.file]), default_path()]


def _toml_name(field: str) -> str:
    """Where a TOML file says what a field of the library holds: `[compare] seeds` for `Plan.seeds`."""
    owner, _, name = field.partition(".")
    if name in ("base", "vary"):
        return f"[{name}]"
    section = {"Plan": "compare", "Roles": "data"}.get(owner)
    return f"[{section}] {name}" if section else field


PLAN = Source(_files, _toml_name)
STUDY = Source(_files_of_study, _toml_name)
Name = Annotated[str, typer.Argument(help="Name of a study, or its TOML file.", metavar="STUDY"), STUDY]


@commands.command(rich_help_panel=PANEL)
def compare(
    file: Annotated[
        str,
        typer.Argument(help="A table: .csv or .parquet.", metavar="FILE", show_default=False),
        Source(),
    ],
    target: Annotated[str, typer.Option(help="Column to predict.", metavar="COLUMN", show_default=False)],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            help="A factor and its levels: dropout=0,0.2,0.5; levels that hold commas are parted by |.",
            metavar="KEY=LEVELS",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Replicates of each arm.", metavar="N")] = 10,
    until: Annotated[
        str | None, typer.Option(help="Add seeds to comparisons that are undecided.", metavar="decided")
    ] = None,
    max_seeds: Annotated[int, typer.Option(help="With --until decided: at most.", metavar="N")] = 100,
    baseline: Annotated[
        str | None, typer.Option(help="Arm to compare with; the first by default.", metavar="ARM")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="validation_accuracy or validation_loss.", metavar="NAME")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="The largest difference that does not matter.", metavar="X")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Told by the target where not given.", metavar="classification|regression"),
    ] = None,
    categorical: Annotated[
        list[str] | None, typer.Option(help="A column of names that look like numbers.", metavar="COLUMN")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A column not to look at.", metavar="COLUMN")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="Rows with equal cells here stay together.", metavar="COLUMN")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Split in the order of this column.", metavar="COLUMN")
    ] = None,
    set_: Sets = None,
    executor: Executor = "local",
    address: Address = None,
    log_dir: LogDir = None,
    report: Report = None,
    csv: Csv = None,
    as_json: Json = False,
) -> None:
    """Which settings are best on a table of your own, and how sure that is."""
    from mlplab.data.own_table import Roles
    from mlplab.study.plan import Plan

    if until not in (None, "decided"):
        raise UnknownName("--until", until, ("decided",))
    roles = Roles(target, task, tuple(categorical or ()), tuple(leave_out or ()), groups, time)  # pyright: ignore
    plan = Plan(
        str(Path(file).absolute()), roles, read_knobs(set_), read_levels(vary), seeds, baseline, metric, margin,
        until == "decided", max_seeds,
    )  # fmt: skip
    _carry_out(plan, executor, address, log_dir, report, csv, as_json=as_json)


@study_commands.command("run")
def run_(
    file: Annotated[str, typer.Argument(help="A TOML file.", metavar="FILE", show_default=False), PLAN],
    executor: Executor = "local",
    address: Address = None,
    log_dir: LogDir = None,
    report: Report = None,
    csv: Csv = None,
    as_json: Json = False,
) -> None:
    """Carry out the comparison in a TOML file."""
    from mlplab.study.plan import Plan

    _carry_out(Plan.read(Path(file)), executor, address, log_dir, report, csv, as_json=as_json)


@study_commands.command()
def status(as_json: Json = False) -> None:
    """How far the studies are that were begun on this machine; also while they run elsewhere."""
    import pandas as pd

    from mlplab.study import register
    from mlplab.study.store import Store, default_path

    rows = []
    entries = register.entries()
    if entries and default_path().exists():
        with Store.open_readonly() as store:
            for entry in entries:
                done, training = len(store.stored(entry.digests)), len(store.in_hand(entry.digests))
                rows.append(
                    {
                        "study": entry.name,
                        "done": done,
                        "runs": len(entry.digests),
                        "at_most": entry.at_most,
                        "training": training,
                        "begun": entry.begun,
                    }
                )
    if as_json:
        print_json(rows)
    elif not rows:
        typer.echo(
            "No study was begun yet: mlplab compare FILE --target COLUMN --vary KEY=LEVELS begins one."
        )
    else:
        from mlplab.cli.present import print_table

        print_table(pd.DataFrame(rows))


@study_commands.command()
def resume(
    name: Name,
    executor: Executor = "local",
    address: Address = None,
    log_dir: LogDir = None,
    report: Report = None,
    csv: Csv = None,
    as_json: Json = False,
) -> None:
    """Go on with a study where it was; a finished one is shown again."""
    _carry_out(_plan(name), executor, address, log_dir, report, csv, as_json=as_json)


@study_commands.command()
def export(
    name: Name,
    out: Annotated[
        str,
        typer.Option("--out", "-o", help="A .csv file.", metavar="FILE", show_default=False),
        Output((".csv",)),
    ],
) -> None:
    """Write what is there of a study: a row for each run that has ended."""
    from mlplab.data.own_table import load_own
    from mlplab.study import Study
    from mlplab.study.comparison import checked
    from mlplab.study.results import Results
    from mlplab.study.store import Store

    plan = _plan(name)
    table = load_own(plan.file, plan.roles)
    _, arms, _ = checked(plan, table)
    with Store.open_readonly() as store:
        most = plan.max_seeds if plan.until_decided else plan.seeds
        frames = []
        for arm in arms:
            whole = Study([arm], most, table.dataset)
            held = store.stored(whole.digests)
            seeds = [
                run.seed for run, digest in zip(whole.runs, whole.digests, strict=True) if digest in held
            ]
            if seeds:
                frames.append(Results.of(Study([arm], seeds, table.dataset), store).frame)
    import pandas as pd

    if not frames:
        raise InvalidInput("mlplab study export", "needs a run that has ended", name)
    write_csv(pd.concat(frames, ignore_index=True), out)
    typer.echo(f"{sum(map(len, frames))} runs: {out}")


def read_levels(vary: list[str] | None) -> dict[str, list[Any]]:
    """`dropout=0,0.2` or `hidden_sizes=64|64,32` as levels. Raises InvalidInput."""
    from mlplab.knobs import levels

    found: dict[str, list[Any]] = {}
    for text in vary or []:
        key, equals, given = (part.strip() for part in text.partition("="))
        if not (key and equals and given):
            raise InvalidInput("--vary", "must be KEY=LEVELS", text, "Write --vary dropout=0,0.2,0.5")
        if key in found:
            raise InvalidInput("--vary", "must name each factor once", key)
        found[key] = levels(key, given)
    return found


def write_csv(frame: Any, path: str) -> None:
    with whole(path) as part:
        frame.to_csv(part, index=False)


def _plan(name: str) -> Plan:
    from mlplab.study import register
    from mlplab.study.plan import Plan

    return Plan.read(Path(name)) if name.endswith(".toml") else register.entry(name).plan


def _carry_out(
    plan: Plan,
    executor: str,
    address: str | None,
    log_dir: str | None,
    report: str | None,
    csv: str | None,
    *,
    as_json: bool,
) -> None:
    from mlplab.cli.bars import stage_bar
    from mlplab.data.own_table import load_own
    from mlplab.study import Study, register
    from mlplab.study.comparison import checked
    from mlplab.study.comparison import compare as carry_out
    from mlplab.study.store import Store

    check_report(report)
    with stage_bar() as on_stage:
        table = load_own(plan.file, plan.roles, on_stage=on_stage)
    _, arms, _ = checked(plan, table)

    def note(study: Study) -> None:
        nonlocal entry
        entry = entry.add(study.digests)

    with (
        scalar_log(log_dir) as log,
        progress() as on_progress,
        Store() as store,
        trainer(executor, address) as how,
    ):
        entry = register.Entry.begin(plan, Study(arms, plan.seeds, table.dataset).digests)
        outcome = carry_out(plan, table, store, on_progress=on_progress, on_study=note, log=log, **how)
    if csv is not None:
        write_csv(outcome.results.frame, csv)
    if report is not None:
        from mlplab.study.page import study_page

        write_whole(report, study_page(outcome))
    if as_json:
        print_json(outcome.to_dict() | {"study": entry.name})
        return
    _print(outcome, entry.name)
    for what, path in (("Runs", csv), ("Report", report), ("Curves", log_dir)):
        if path is not None:
            typer.echo(f"{what:14} {path}")


def _print(outcome: Outcome, name: str) -> None:
    import pandas as pd

    from mlplab.cli.present import print_table
    from mlplab.study.page import contradiction, error_sentence, ranking_cells, sentence_on_test

    if warning := contradiction(outcome):
        typer.echo(f"{warning}\n")
    data = outcome.table.dataset
    features = "1 feature" if data.in_features == 1 else f"{data.in_features:,} features"
    counts = ", ".join(f"{part.num_examples:,} {name}" for name, part in data.parts.items())
    typer.echo(f"{data.name}: {data.task} of {outcome.plan.roles.target}; {counts} rows, {features}")
    for note in outcome.table.notes:
        typer.echo(f"Note: {note}")
    typer.echo()
    frame = pd.DataFrame(ranking_cells(outcome))
    if not frame["diverged"].any():
        frame = frame.drop(columns="diverged")
    unit = "in %" if outcome.metric.endswith("accuracy") else "(lower is better)"
    print_table(frame, title=f"{outcome.metric.replace('_', ' ')} {unit}, against {outcome.baseline}")
    if error := error_sentence(outcome):
        typer.echo(f"\n{error}")
    typer.echo(f"\n{sentence_on_test(outcome)}")
    typer.echo(f"\nStudy          {name} (mlplab study resume {name})")
