"""Laws of results: rows in any order say the same, pairs are pairs, and nothing that diverged goes missing."""

from __future__ import annotations

import json
import random

import numpy as np
import pandas as pd
import pytest

from mlplab import stats
from mlplab.errors import InvalidInput, StoreError, UnknownName
from mlplab.knobs import turn
from mlplab.study import Arm, Results, Store, Study, factorial, run_study

from .cases import BASE, Trainer, arms, dataset, diverged, made_up, small_study

METRICS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
)


@pytest.fixture(scope="module")
def study():
    return Study(factorial(BASE, hidden_sizes=["4", "5"], dropout=["0", "0.5"]), [9, 2, 5], dataset())


@pytest.fixture(scope="module")
def results(study, tmp_path_factory):
    """All arms on three seeds."""
    with Store(tmp_path_factory.mktemp("store") / "runs.sqlite") as store:
        return run_study(study, store, train=Trainer())


def some_diverged(runs, data):
    yield from (
        diverged(run) if run.seed == 5 and run.setting.noises[0].rate else made_up(run) for run in runs
    )


@pytest.fixture(scope="module")
def partly(study, tmp_path_factory):
    """The same, but with dropout seed 5 diverged."""
    with Store(tmp_path_factory.mktemp("store") / "runs.sqlite") as store:
        return run_study(study, store, train=some_diverged)


def test_the_table_is_tidy(results, study):
    fixed = ["arm", "hidden_sizes", "dropout", "seed", "status", "diverged_step"]
    assert list(results.frame.columns) == [*fixed, *METRICS, "seconds"]
    assert (results.factors, results.metrics) == (("hidden_sizes", "dropout"), METRICS)
    assert results.arms == tuple(arm.name for arm in study.arms)
    assert results.frame["seed"].tolist() == [2, 5, 9] * 4
    assert results.frame["dropout"].tolist() == (["0"] * 3 + ["0.5"] * 3) * 2


def test_each_row_is_its_run(results, study):
    for run in study.runs:
        arm = study.arm_of(run).name
        row = results.frame.set_index(["arm", "seed"]).loc[(arm, run.seed)]
        assert row[list(METRICS)].to_dict() == made_up(run).metrics
        (weight, bias) = results.parameters(arm, run.seed)[0]
        assert np.array_equal(weight, made_up(run).parameters[0][0])
        assert bias.shape == (3,)


def test_hits_and_averages_are_those_of_the_runs(tmp_path):
    watched = turn(BASE, probes="test_hits", average_epochs=1, initialization="linear")
    with Store(tmp_path / "runs.sqlite") as store:
        results = run_study(Study([Arm("a", watched), Arm("b", BASE)], [5, 2], dataset()), store)
    hits = results.test_hits("a")
    assert (hits.shape, hits.dtype) == ((2, 20), np.dtype(bool))
    assert hits.mean(1).tolist() == pytest.approx(results.values("average_test_accuracy", "a").tolist())
    assert np.isnan(results.values("average_test_accuracy", "b")).all()
    with pytest.raises(
        InvalidInput, match=r"needs runs whose hits were kept; got 'b, seed 2'\. Ask for them with"
    ):
        results.test_hits("b")


def test_where_nothing_finishes_the_averages_have_their_columns(tmp_path):
    averaged = turn(BASE, average_epochs=1)
    with Store(tmp_path / "runs.sqlite") as store:
        store.save(map(diverged, (study := Study([Arm("a", averaged)], 1, dataset())).runs))
        results = run_study(study, store)
    assert results.metrics == (*METRICS, *(f"average_{name}" for name in METRICS))


def test_curves_have_the_epochs_that_they_were_measured_at(results, study):
    run = study.runs[0]
    curves = results.curves
    held = curves[(curves["arm"] == study.arm_of(run).name) & (curves["seed"] == run.seed)]
    running = held[held["metric"] == "running_loss"]
    assert running["value"].tolist() == made_up(run).curves["running_loss"]
    assert running["epoch"].tolist() == [1, 2]
    assert set(curves["metric"]) == {"running_loss", "validation_loss"}


def test_curves_follow_evaluate_every(tmp_path):
    setting = turn(BASE, epochs=5, evaluate_every=2)
    with Store(tmp_path / "runs.sqlite") as store:
        curves = run_study(Study([Arm("a", setting)], 1, dataset()), store).curves
    assert curves.groupby("metric")["epoch"].agg(list)["validation_loss"] == [2, 4, 5]
    assert curves.groupby("metric")["epoch"].agg(list)["running_loss"] == [1, 2, 3, 4, 5]


def test_the_order_of_seeds_and_runs_changes_nothing(results, study, tmp_path):
    shuffled = Study(study.arms, [5, 9, 2], study.data)
    with Store(tmp_path / "runs.sqlite") as store:
        store.save(made_up(run) for run in random.Random(0).sample(study.runs, len(study.runs)))
        other = run_study(shuffled, store)
    pd.testing.assert_frame_equal(other.frame, results.frame)
    pd.testing.assert_frame_equal(other.curves, results.curves)


def test_records_in_any_order_say_the_same(results):
    frame, curves = results.to_records()
    frame, curves = json.loads(json.dumps(frame)), json.loads(json.dumps(curves))
    again = Results.from_records(frame, curves)
    pd.testing.assert_frame_equal(again.frame, results.frame)
    pd.testing.assert_frame_equal(again.curves, results.curves)
    assert (again.factors, again.metrics) == (results.factors, results.metrics)
    shuffled = Results.from_records(random.Random(1).sample(frame, len(frame)))
    for arm in results.arms:
        assert np.array_equal(shuffled.values("test_loss", arm), results.values("test_loss", arm))
    one, two = (r.compare("test_loss", results.arms[0]) for r in (results, shuffled))
    assert {arm: c.to_dict() for arm, c in one.items()} == {arm: two[arm].to_dict() for arm in one}


def test_records_with_divergence_come_back_too(partly):
    again = Results.from_records(*json.loads(json.dumps(partly.to_records(), allow_nan=False)))
    pd.testing.assert_frame_equal(again.frame, partly.frame)
    pd.testing.assert_frame_equal(again.summary("test_loss"), partly.summary("test_loss"))


def test_differences_are_paired_by_seed(results):
    a, b = results.arms[:2]
    by_seed = results.frame.pivot(index="seed", columns="arm", values="test_loss").sort_index()
    expected = (by_seed[b] - by_seed[a]).to_numpy()
    assert np.array_equal(results.differences("test_loss", b, a), expected)
    assert np.array_equal(results.differences("test_loss", a, b), -expected)


def test_compare_is_the_statistics_of_the_paired_values(results):
    baseline = results.arms[1]
    values = {arm: results.values("test_loss", arm) for arm in results.arms}
    found = results.compare("test_loss", baseline, claim="greater", margin=0.1)
    assert found == stats.compare_arms(values, baseline, claim="greater", margin=0.1)
    (chosen,) = results.compare("test_loss", baseline, arms=[results.arms[3]])
    assert chosen == results.arms[3]


def test_a_diverged_run_is_seen_everywhere(partly):
    whole, broken = partly.arms[:2]
    assert np.isnan(partly.values("test_loss", broken)).tolist() == [False, True, False]
    assert np.isnan(partly.differences("test_loss", broken, whole)).tolist() == [False, True, False]
    with pytest.raises(InvalidInput, match="A diverged run has no final value"):
        partly.compare("test_loss", whole)
    partly.compare("test_loss", whole, arms=[partly.arms[2]])
    row = partly.frame[(partly.frame["arm"] == broken) & (partly.frame["seed"] == 5)].iloc[0]
    assert (row["status"], row["diverged_step"]) == ("diverged", 2)
    with pytest.raises(InvalidInput, match="weights were kept"):
        partly.parameters(broken, 5)


def test_the_summary_counts_what_diverged(partly):
    table = partly.summary("test_loss", ci_prob=0.9).set_index("arm")
    whole, broken = (table.loc[arm] for arm in partly.arms[:2])
    expected = stats.mean_interval(partly.values("test_loss", partly.arms[0]), ci_prob=0.9)
    assert (whole["estimate"], whole["ci_low"], whole["ci_high"]) == (
        expected.estimate, expected.ci_low, expected.ci_high
    )  # fmt: skip
    assert (whole["num_replicates"], whole["num_diverged"], whole["share_diverged"]) == (3, 0, 0)
    share = stats.proportion_interval(1, 3, ci_prob=0.9)
    assert (broken["num_replicates"], broken["num_diverged"]) == (2, 1)
    assert (broken["diverged_low"], broken["diverged_high"]) == (share.ci_low, share.ci_high)
    assert broken["estimate"] == np.nanmean(partly.values("test_loss", partly.arms[1]))


def test_an_arm_that_diverged_whole_has_its_columns_and_its_row(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        results = run_study(small_study(), store, train=lambda runs, data: map(diverged, runs))
    assert results.metrics == METRICS
    table = results.summary("test_loss")
    assert table["estimate"].isna().all()
    assert (table["num_diverged"] == 3).all()
    assert (table["num_replicates"] == 0).all()


def test_one_seed_has_a_mean_and_no_interval(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        row = run_study(small_study(1, (4,)), store, train=Trainer()).summary("test_loss").iloc[0]
    assert np.isfinite(row["estimate"])
    assert np.isnan([row["ci_low"], row["ci_high"], row["std_error"]]).all()


def test_unknown_names_get_the_nearest(results):
    with pytest.raises(UnknownName, match="Did you mean 'test_loss'"):
        results.values("tets_loss", results.arms[0])
    with pytest.raises(UnknownName, match=r"Did you mean 'hidden_sizes=4 dropout=0\.5'"):
        results.values("test_loss", "hidden_sizes=4 dropout=0.55")
    with pytest.raises(UnknownName, match="seed must be one of '2', '5', '9'; got 3"):
        results.parameters(results.arms[0], 3)


def test_without_shared_seeds_nothing_is_paired(results):
    records = [row for row in results.to_records()[0] if (row["arm"], row["seed"]) != (results.arms[1], 5)]
    broken = Results.from_records(records)
    with pytest.raises(InvalidInput, match=r"must have the seeds of .*two_sample"):
        broken.differences("test_loss", results.arms[1], results.arms[0])
    with pytest.raises(InvalidInput, match="must have the seeds of"):
        broken.compare("test_loss", results.arms[0])


def test_impossible_records_get_one_line(results):
    frame, _ = results.to_records()
    with pytest.raises(InvalidInput, match="each arm and seed once"):
        Results.from_records([*frame, frame[0]])
    with pytest.raises(InvalidInput, match=r"frame_records\[0\] must have seed"):
        Results.from_records([{"arm": "a", "status": "finished"}])
    with pytest.raises(InvalidInput, match="needs at least 1 row"):
        Results.from_records([])
    with pytest.raises(InvalidInput, match="weights were kept"):
        Results.from_records(frame).parameters(results.arms[0], 2)


def test_weights_are_read_from_a_store_that_was_closed_but_not_from_one_that_is_gone(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        results = run_study(small_study(1, (4,)), store, train=Trainer())
    results.parameters("hidden_sizes=4", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.sqlite"]
    store.path.unlink()
    with pytest.raises(StoreError, match="no results store here"):
        results.parameters("hidden_sizes=4", 0)


def test_arms_without_levels_have_a_name_only(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        results = run_study(Study(arms("plain", "other"), 2, dataset()), store, train=Trainer())
    assert results.factors == ()
    assert results.arms == ("plain", "other")


def test_the_best_arm_has_the_highest_accuracy_or_the_lowest_loss(results):
    for metric, choose in (("validation_accuracy", max), ("validation_loss", min)):
        means = {arm: results.values(metric, arm).mean() for arm in results.arms}
        assert results.best(metric) == choose(means, key=means.get)
        last = results.arms[-2:]
        assert results.best(metric, arms=last) == choose(last, key=means.get)


def test_an_arm_that_diverged_is_not_the_best(partly):
    noisy = [arm for arm in partly.arms if "dropout=0.5" in arm]
    assert partly.best("validation_accuracy") not in noisy
    with pytest.raises(InvalidInput, match=r"Results\.best needs an arm of which every run finished"):
        partly.best("validation_accuracy", arms=noisy)
