"""The command `tune`: which settings, and what is left of them with fresh seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlplab.cli.command import Commands, Source
from mlplab.cli.options import (
    Address,
    Executor,
    Json,
    LogDir,
    Plot,
    Sets,
    print_json,
    progress,
    read_knobs,
    scalar_log,
    trainer,
)  # fmt: skip
from mlplab.cli.present import print_table, save_plot, told
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    from mlplab.data import Dataset
    from mlplab.stats import Comparison, Interval
    from mlplab.study.tuning import Tuning

# Modules that load torch are imported where a command needs them: `mlplab --help` answers at once.
commands = Commands()

SHOWN = 10  # settings of the ranking


def _files(data: str) -> list[str | Path]:
    """What a data set is read from: a table, or published files."""
    from mlplab import data as datasets

    return [data, *(datasets.files(data) if data in datasets.names() else ())]


@commands.command(rich_help_panel="Your question")
def tune(
    data: Annotated[
        str,
        typer.Argument(
            help="Name of a data set (mlplab data list), or a .csv or .parquet table.",
            metavar="DATA",
            show_default=False,
        ),
        Source(_files),
    ],
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            help="What is searched: dropout=0,0.2,0.5, learning_rate=loguniform(0.001,1). Once for each.",
            metavar="KEY=LEVELS",
        ),
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="random, tpe, halving, hyperband or racing.", metavar="NAME")
    ] = "hyperband",
    budget: Annotated[
        float, typer.Option(help="What the search may cost, in whole trainings.", metavar="N")
    ] = 60,
    seeds: Annotated[
        int, typer.Option(help="Fresh seeds that the winner is trained with.", metavar="N")
    ] = 10,
    target: Annotated[
        str | None, typer.Option(help="Column of a table to predict.", metavar="COLUMN")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="validation_accuracy or validation_loss.", metavar="NAME")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the search.", metavar="N")] = 0,
    set_: Sets = None,
    executor: Executor = "local",
    address: Address = None,
    log_dir: LogDir = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """Search for the best setting on validation data, train it anew with fresh seeds, look at the test data once."""
    from mlplab import knobs
    from mlplab.spec import Setting
    from mlplab.study import Store
    from mlplab.study import tuning as tool

    asked = read_search(search)
    dataset, notes = _dataset(data, target)
    base = Setting() if dataset.task == "classification" else knobs.turn(Setting(), loss="squared_error")
    space = tool.Space(knobs.turn(base, **read_knobs(set_)), **asked)
    with (
        scalar_log(log_dir) as log,
        progress() as on_progress,
        Store() as store,
        trainer(executor, address) as how,
    ):
        found = tool.tune(
            space, dataset, store, strategy=strategy, budget=budget, seeds=seeds, metric=metric, seed=seed,
            on_progress=on_progress, log=log, **how,
        )  # fmt: skip
    if plot:
        save_plot(found.plot(), plot)
    if as_json:
        print_json(found.to_dict() | {"notes": notes})
        return
    _print(found)
    told(plot)


def _dataset(name: str, target: str | None) -> tuple[Dataset, list[str]]:
    """A named data set, or that of a table of one's own with notes on it, which are told."""
    from mlplab import data as datasets
    from mlplab.cli.bars import stage_bar
    from mlplab.data.own_table import Roles, load_own
    from mlplab.data.table_pieces import SUFFIXES

    is_file = name.lower().endswith(SUFFIXES)
    if is_file != (target is not None):
        rule = "must name the column to predict" if is_file else "goes with a table of your own"
        raise InvalidInput("--target", rule, target, "Write --target COLUMN" if is_file else "")
    if target is None:
        return datasets.load(name), []
    with stage_bar() as on_stage:
        table = load_own(name, Roles(target), on_stage=on_stage)
    for note in table.notes:
        typer.echo(f"Note: {note}", err=True)
    return table.dataset, list(table.notes)


def read_search(search: list[str] | None) -> dict[str, str]:
    """KEY=LEVELS pairs. Raises InvalidInput."""
    pairs = [text.partition("=") for text in search or []]
    for key, equals, levels in pairs:
        if not (key.strip() and equals):
            remedy = "Write --search dropout=0,0.2,0.5"
            raise InvalidInput("--search", "must be KEY=LEVELS", f"{key}{equals}{levels}", remedy)
    found = {key.strip(): levels.strip() for key, _, levels in pairs}
    if len(found) < len(pairs):
        raise InvalidInput("--search", "must name each hyperparameter once", [key for key, _, _ in pairs])
    return found


def _print(found: Tuning) -> None:
    typer.echo(
        f"{found.data.name}: {found.data.train.num_examples:,} training examples. Searched by {found.strategy} over"
        f" {found.space}."
    )
    ranking = found.ranking()
    count, diverged = len(ranking), found.num_diverged
    typer.echo(
        f"Spent {found.spent / found.epochs:.1f} of {found.budget / found.epochs:g} trainings of {found.epochs}"
        f" epochs: {count} settings, {len(found.trials)} trials{f', {diverged} diverged' if diverged else ''}.\n"
    )
    print_table(ranking.head(SHOWN), title=f"The {min(SHOWN, count)} of {count} settings that came furthest")
    seeds = found.fresh.frame["seed"].nunique()
    typer.echo(f"\nWinner         {found.winner.name}")
    typer.echo(
        f"in the search  {_value(found, found.search_value)} {found.metric.replace('_', ' ')}, which it was chosen by"
    )
    if not found.is_whole:
        lost = int((found.fresh.frame.query("arm == @found.winner.name")["status"] != "finished").sum())
        typer.echo(
            f"fresh seeds    it diverged on {lost} of {seeds}: take a lower learning rate, or clip_norm"
        )
        return
    typer.echo(f"fresh seeds    {_level(found, found.value(found.metric))}, {seeds} seeds")
    typer.echo(f"optimism       {_optimism(found)}")
    if found.test_metric is not None:
        typer.echo(
            f"test           {_level(found, found.value(found.test_metric))}, looked at now for the first time"
        )
    metric = found.test_metric or found.metric
    if (gain := found.gain(metric)) is not None:
        typer.echo(f"gain           {_gain(found, gain, metric.partition('_')[0])}")
    typer.echo("Intervals: 95% t over seeds; a bound below 0 is the other direction.")


def _optimism(found: Tuning) -> str:
    from mlplab.study.directions import amount, better_or_worse

    of = found.optimism()
    word = better_or_worse(of, sign=1)
    if not word:
        return "none: the search saw of the winner what fresh seeds show"
    return f"the search saw the winner {word} than fresh seeds do, by {amount(of, is_share=_is_share(found))}"


def _gain(found: Tuning, gain: Comparison, part: str) -> str:
    from mlplab.study.directions import amount, better_or_worse
    from mlplab.study.tuning.tuning import BASELINE

    word = better_or_worse(gain, sign=1)
    if not word:
        return f"none on the {part} part: the setting {BASELINE} comes to the same"
    by = amount(gain, is_share=_is_share(found))
    undecided = ": nothing decided" if gain.verdict == "undecided" else ""
    return f"{word} on the {part} part than the setting {BASELINE}, by {by}, paired{undecided}"


def _is_share(found: Tuning) -> bool:
    return found.metric.endswith("accuracy")


def _value(found: Tuning, value: float) -> str:
    from mlplab.charts import show

    return f"{show.percent(value)}%" if _is_share(found) else show.number(value)


def _level(found: Tuning, of: Interval) -> str:
    from mlplab.study.directions import level

    return level(of, is_share=_is_share(found))
