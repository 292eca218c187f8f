"""Laws of `tune`: rungs as one batch, no peeking at the test part, what was stopped goes on, fresh seeds are fresh."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlplab
import mlplab.errors
from mlplab import engine
from mlplab.cli import tuning as cli_tuning
from mlplab.data import load
from mlplab.engine import Result
from mlplab.errors import InvalidInput, UnknownName
from mlplab.knobs import turn
from mlplab.study import Store, run_study
from mlplab.study.results import Results
from mlplab.study.space import Space
from mlplab.study.tuning import STRATEGIES, tune, tune_by
from mlplab.study.tuning.halving import promoted
from mlplab.study.tuning.training import StoredTraining, without_test
from mlplab.study.tuning.tuning import BASELINE

from .cases import BASE, dataset

DATA = dataset()
SPACE = Space(
    turn(BASE, epochs=9, initialization="linear", batch_size=8),
    learning_rate="loguniform(0.001,3)",
    hidden_sizes="4|6|5,3",
    dropout="0,0.3",
)
every_strategy = pytest.mark.parametrize("name", STRATEGIES)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "runs.sqlite") as opened:
        yield opened


def search(store, name, **options):
    return tune(SPACE, DATA, store, strategy=name, **{"budget": 12, "seeds": 3} | options)


def told(found):
    return [(trial.arm.name, trial.seed, trial.epochs, trial.score) for trial in found.trials]


@pytest.mark.slow
def test_a_rung_trained_as_one_batch_promotes_what_solo_training_promotes(store, tmp_path):
    """Thirty settings over three rungs, in float64: in one call with carried state, and each alone from the start."""
    space = Space(turn(SPACE.base, precision="float64"), **SPACE.dimensions)
    arms, _ = space.draws(4, 0, 30)
    together = StoredTraining(partial(run_study, store=store), DATA, "validation_loss", keep_states=True)
    with Store(tmp_path / "solo.sqlite") as other:
        solo = StoredTraining(partial(run_study, store=other), DATA, "validation_loss", keep_states=False)
        standing = arms
        for epochs, count in ((1, 10), (3, 3), (9, 1)):
            scores = together(standing, epochs, [0])[:, 0]
            alone = np.array([solo([arm], epochs, [0])[0, 0] for arm in standing])
            np.testing.assert_allclose(scores, alone, rtol=1e-9)
            places = promoted(scores, count)
            assert places == promoted(alone, count)
            assert len(places) == count
            standing = [standing[place] for place in places]


def test_a_rung_goes_on_where_the_last_one_ended(store):
    epochs = []

    def counted(runs, data, **options):
        for record in engine.train(runs, data, **options):
            if not isinstance(record, Result):
                epochs.extend([record.number] * len(record.runs))
            yield record

    run = partial(run_study, store=store)
    evaluate = StoredTraining(run, DATA, "validation_accuracy", keep_states=True, train=counted)
    arms, _ = SPACE.draws(0, 0, 9)
    evaluate(arms, 1, [0])
    evaluate(arms[:3], 3, [0])
    evaluate(arms[:1], 9, [0])
    assert len(epochs) == 9 * 1 + 3 * 2 + 1 * 6


@every_strategy
def test_what_averages_and_keeps_late_epochs_is_searched_too(name, store):
    """A rung has fewer epochs than are averaged in the end; it begins anew, and is counted so."""
    training = {"epochs": 9, "average_epochs": 4, "keep_weights": (9,)}
    space = Space(turn(SPACE.base, **training), learning_rate="0.01,0.1,1")
    found = tune(space, DATA, store, strategy=name, budget=12, seeds=2)
    assert found.winner.setting.training.average_epochs == 4
    assert found.spent <= 12 * 9


@every_strategy
def test_the_search_never_sees_the_test_part(name, store):
    """The store holds every run of it: none has a metric of the test part, all of the refit have."""
    found = search(store, name)
    held = store.get(_digests(store))
    with_test = [result for result in held.values() if "test_accuracy" in result.metrics]
    assert len(with_test) == len(found.fresh.frame) - (found.fresh.frame["status"] != "finished").sum()
    assert without_test(DATA).test is None


def _digests(store) -> list[str]:
    return [digest for (digest,) in store._file.execute("SELECT digest FROM runs")]


@every_strategy
def test_fresh_seeds_are_fresh_and_the_winner_is_trained_beside_the_setting_as_given(name, store):
    found = search(store, name)
    searched = {trial.seed for trial in found.trials}
    assert searched.isdisjoint(found.fresh.frame["seed"])
    assert found.fresh.arms == (found.winner.name, BASELINE)
    gain = found.gain("test_accuracy")
    assert gain is not None
    difference = found.fresh.values("test_accuracy", found.winner.name) - found.fresh.values(
        "test_accuracy", BASELINE
    )
    assert gain.estimate == pytest.approx(difference.mean())
    fresh = found.fresh.values("validation_accuracy", found.winner.name)
    assert found.optimism().estimate == pytest.approx(found.search_value - fresh.mean())


# Halving has rungs and carries states from one to the next.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "halving")) for n in STRATEGIES]
)
def test_what_was_stopped_goes_on_to_the_same_end(name, store, tmp_path):
    """Stopped after each of a few results in turn; what had been trained is found, the rest comes out the same."""
    with Store(tmp_path / "whole.sqlite") as other:
        whole = search(other, name)
    for stop_after in (1, 3, 5):
        count = 0

        def stopping(study, *, train, stop_after=stop_after):
            def counted(runs, data):
                nonlocal count
                for record in train(runs, data):
                    yield record
                    if isinstance(record, Result):
                        count += 1
                        if count == stop_after:
                            raise KeyboardInterrupt

            return run_study(study, store, train=counted)

        with pytest.raises(KeyboardInterrupt):
            tune_by(stopping, SPACE, DATA, strategy=name, budget=12, seeds=3)
    before = store.count()
    assert before >= 9
    resumed = search(store, name)
    assert resumed.winner == whole.winner
    assert [row[:3] for row in told(resumed)] == [row[:3] for row in told(whole)]
    # float32 sums in another order for another number of models: rounding only.
    np.testing.assert_allclose([t[3] for t in told(resumed)], [t[3] for t in told(whole)], atol=0.051)
    count = store.count()
    again = search(store, name)
    assert told(again) == told(resumed)
    assert store.count() == count


def test_a_loss_is_searched_downwards(store):
    found = search(store, "random", metric="validation_loss")
    finished = [-trial.score for trial in found.trials if np.isfinite(trial.score)]
    assert found.search_value == min(finished)
    assert found.test_metric == "test_loss"
    assert found.optimism().estimate == pytest.approx(
        (found.fresh.values("validation_loss", found.winner.name) - found.search_value).mean()
    )
    losses = found.fresh.frame.groupby("arm")["test_loss"].mean()
    gain = found.gain("test_loss")
    assert gain is not None
    assert gain.estimate == pytest.approx(losses[BASELINE] - losses[found.winner.name])


@pytest.mark.parametrize(("metric", "better"), [("validation_accuracy", 0.1), ("validation_loss", -0.1)])
def test_optimism_and_gain_are_told_by_what_they_mean(store, metric: str, better: float):
    """Whether more is better or less, and which way it went."""
    found = search(store, "random", metric=metric)
    kept = ["arm", "seed", "status", metric, found.test_metric]
    for sign, word, saw in ((1, "better", "worse"), (-1, "worse", "better")):
        frame = found.fresh.frame[kept].copy()
        is_winner = frame["arm"] == found.winner.name
        # The baseline is where the search saw the winner; a little spread, so that there is an interval.
        level = found.search_value + 0.001 * (frame["seed"] % 3) * np.where(is_winner, 1, 2)
        for name in (metric, found.test_metric):
            frame[name] = level + is_winner * sign * better
        result = replace(found, fresh=Results.from_records(frame.to_dict("records")))
        assert cli_tuning._optimism(result).startswith(
            f"the search saw the winner {saw} than fresh seeds do, by "
        )
        gain = result.gain(result.test_metric)
        assert cli_tuning._gain(result, gain, "test").startswith(
            f"{word} on the test part than the setting as given, by "
        )
        assert (result.to_dict()["gain"]["estimate"] > 0) == (word == "better")


def test_where_all_seeds_agree_it_is_said_in_words(store):
    found = search(store, "random")
    frame = found.fresh.frame[["arm", "seed", "status", "validation_accuracy", "test_accuracy"]].copy()
    frame[["validation_accuracy", "test_accuracy"]] = found.search_value
    result = replace(found, fresh=Results.from_records(frame.to_dict("records")))
    assert cli_tuning._level(result, result.value("test_accuracy")).endswith(
        "% (all seeds agree; no interval can be given)"
    )
    assert cli_tuning._optimism(result).startswith("none")
    for name in ("validation", "test", "optimism", "gain"):
        of = result.to_dict()[name]
        assert of["all_seeds_agree"]
        assert of["ci_low"] is of["ci_high"] is None


def test_a_ranking_has_the_winner_first_and_each_setting_once(store):
    found = search(store, "hyperband")
    table = found.ranking()
    assert table["winner"].tolist() == [True] + [False] * (len(table) - 1)
    assert len(table) == len({trial.arm.name for trial in found.trials})
    assert isinstance(found.path(), pd.DataFrame)


def test_a_tuning_is_json_and_a_figure(store):
    found = search(store, "racing")
    held = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert held["winner"].keys() <= SPACE.dimensions.keys()
    assert len(held["trials"]) == held["num_trials"] == len(found.trials)
    assert found.plot().to_dict()


def test_a_winner_that_diverges_on_a_fresh_seed_is_told(store):
    """At an absurd rate a run may live on one seed and not on another; nothing is hidden."""
    space = Space(turn(BASE, learning_rate=1e38), weight_decay="0.1,0.2")
    with pytest.raises(InvalidInput, match="diverged"):
        tune(space, DATA, store, strategy="random", budget=2, seeds=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "hyperbandit"}, "Did you mean 'hyperband'"),
        ({"metric": "test_accuracy"}, "metric must be one of 'validation_accuracy', 'validation_loss'"),
        ({"budget": 0}, "budget must be a number of trainings above 0"),
        ({"budget": float("nan")}, "budget must be a number of trainings above 0"),
        ({"budget": 1}, "budget must be at least 3 trainings of 9 epochs"),
        ({"seeds": 1}, "seeds must be at least 2"),
    ],
    ids=str,
)
def test_law_6_bad_searches_get_one_clear_line(store, options, said):
    with pytest.raises((InvalidInput, UnknownName), match=said):
        tune(SPACE, DATA, store, **options)
    assert store.count() == 0


def test_losses_of_their_own_are_not_compared(store):
    space = Space(turn(BASE, loss="huber"), huber_delta="0.1,1")
    with pytest.raises(
        InvalidInput, match="huber_delta must be the same for all that is compared by validation_loss"
    ):
        tune(space, load("polynomial"), store, budget=2)
    assert store.count() == 0


def two_rungs(bench, seed):
    """A strategy of one's own, with a rung of one epoch and one of all."""
    arms, _ = bench.space.draws(seed, 0, 6)
    first = bench.scores(arms, 1, [seed])[:, 0]
    standing = [arms[place] for place in promoted(first, 2)]
    last = bench.scores(standing, bench.epochs, [seed])[:, 0]
    bench.lead(standing[int(np.argmax(last))])


def test_a_strategy_of_ones_own_is_a_function(store):
    """What it promotes goes on from its first epoch, and the same call comes to the same end."""
    found = tune(SPACE, DATA, store, strategy=two_rungs, budget=12, seeds=3)
    assert found.strategy == found.to_dict()["strategy"] == "two_rungs"
    assert found.spent == 6 * 1 + 2 * 8
    assert [trial.epochs for trial in found.trials] == 6 * [1] + 2 * [9]
    assert told(tune(SPACE, DATA, store, strategy=two_rungs, budget=12, seeds=3)) == told(found)


def racing(bench, seed):
    """Not ours."""


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        (7, "strategy must be a name .* or a function of a bench and a seed; got 7"),
        (racing, "strategy must have a name of its own; got 'racing'"),
        (lambda bench, seed: bench.scores(bench.space.draws(0, 0, 1)[0], 9, [0]), "must say which setting leads"),
        (lambda bench, seed: bench.lead(bench.space.draws(0, 0, 1)[0][0]), "led by a setting that it trained"),
    ],
    ids=["no function", "a name that is taken", "no leader", "an untrained leader"],
)  # fmt: skip
def test_law_6_a_bad_strategy_of_ones_own_gets_one_clear_line(store, strategy, said):
    with pytest.raises(InvalidInput, match=said):
        tune(SPACE, DATA, store, strategy=strategy, budget=12, seeds=3)


def test_epochs_are_not_searched(store):
    with pytest.raises(InvalidInput, match="epochs cannot be searched"):
        tune(Space(BASE, epochs="1,2"), DATA, store)


def test_where_the_best_is_the_setting_as_given_there_is_nothing_to_gain(store):
    space = Space(SPACE.base, learning_rate=[0.1, 1e-9])
    found = tune(space, DATA, store, strategy="random", budget=2, seeds=2)
    assert found.winner.setting == space.base
    assert found.gain("test_accuracy") is None
    assert found.fresh.arms == (found.winner.name,)


SEARCH = [
    *("tune", "digits", "--strategy", "hyperband", "--budget", "40", "--seeds", "3"),
    *("--search", "learning_rate=loguniform(0.001,1)", "--search", "hidden_sizes=16|32", "--json"),
]


@pytest.mark.slow
def test_a_killed_search_goes_on(tmp_path):
    """SIGKILL, twice; then the same command ends as it would have ended, and nothing it had trained is lost."""
    place = {"PYTHONPATH": str(Path(mlplab.__file__).parents[1])}

    def command(cache: str) -> tuple[list[str], dict[str, str]]:
        environment = os.environ | place | {"MLPLAB_CACHE": str(tmp_path / cache)}
        return [sys.executable, "-m", "mlplab", *SEARCH], environment

    kept = 0
    for more in (20, 20):
        words, environment = command("killed")
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        path = tmp_path / "killed/runs.sqlite"
        while process.poll() is None and (not path.exists() or _count(path) < kept + more):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert _count(path) >= kept + more
        kept = _count(path)
    outputs = []
    for cache in ("killed", "whole"):
        words, environment = command(cache)
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
    killed, whole = (json.loads(text) for text in outputs)
    assert killed["winner"] == whole["winner"]
    assert killed["search_value"] == pytest.approx(whole["search_value"], abs=0.011)
    assert _count(tmp_path / "killed/runs.sqlite") == _count(tmp_path / "whole/runs.sqlite")


def _count(path: Path) -> int:
    try:
        with Store.open_readonly(path) as store:
            return store.count()
    except mlplab.errors.StoreError:  # it is just being made
        return 0
