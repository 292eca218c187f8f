"""A run that diverges is a result, at a recorded step, the same in company (law 5: nothing is lost)."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from mlplab.engine import Epoch, Result, train
from mlplab.engine.draws import epoch_order
from mlplab.engine.reference import train_one
from mlplab.spec import Initialization, Penalty

from .cases import BY_NAME, largest_difference, weight_difference

NAMES = ["regression", "regression_dropout_momentum_decay", "two_hidden", "dropout_adam_decay"]
STEPS_PER_EPOCH = 4  # 90 examples in batches of 25


def wild(case, rate, *, epochs=6, precision="float64", seed=3, **training):
    """The case's run at another learning rate."""
    run = case.run(seed, precision)
    optimizer = dataclasses.replace(run.setting.optimizer, learning_rate=rate)
    training = dataclasses.replace(run.setting.training, epochs=epochs, **training)
    return dataclasses.replace(run, setting=run.setting.replace(optimizer=optimizer, training=training))


def trained(runs, data) -> list[Result]:
    found = {record.run: record for record in train(runs, data) if isinstance(record, Result)}
    return [found[run] for run in runs]


def steps(results):
    return [(result.status, result.diverged_step) for result in results]


@pytest.mark.parametrize(("rate", "precision"), [(1e200, "float64"), (1e30, "float32")])
@pytest.mark.parametrize("name", NAMES)
def test_divergence_is_a_result_and_the_same_in_both_engines(name, rate, precision):
    case = BY_NAME[name]
    run, data = wild(case, rate, precision=precision), case.data()
    stacked, reference = trained([run], data)[0], train_one(run, data)
    assert steps([stacked]) == steps([reference])
    assert stacked.status == "diverged"
    assert 0 < stacked.diverged_step <= 6 * STEPS_PER_EPOCH
    assert stacked.metrics == reference.metrics == {}
    assert stacked.parameters == reference.parameters == ()


@pytest.mark.parametrize("rate", [0.5, 3.0, 30.0, 1e4, 1e20])
@pytest.mark.parametrize("evaluate_every", [1, 2])
def test_curves_stop_where_the_run_diverged(rate, evaluate_every):
    """Whole epochs of finite numbers, an accuracy for each loss, and no word about what came after."""
    case = BY_NAME["dropout"] if rate < 1 else BY_NAME["regression"]
    run, data = wild(case, rate, epochs=40, evaluate_every=evaluate_every), case.data()
    stacked, reference = trained([run], data)[0], train_one(run, data)
    # Unequal weights may show in numbers near overflow: lengths are exact, values relative.
    for name, curve in reference.curves.items():
        assert stacked.curves[name] == pytest.approx(curve, rel=1e-6), name
    assert stacked.curves.keys() == reference.curves.keys()
    curves = stacked.curves
    assert len(curves.get("validation_loss", [])) == len(curves.get("evaluated_epoch", []))
    json.dumps(curves, allow_nan=False)
    if stacked.status == "diverged":
        completed = stacked.diverged_step // STEPS_PER_EPOCH
        assert len(curves.get("running_loss", [])) == completed


def test_a_classifier_that_diverges_has_no_accuracy_afterwards():
    """The largest of logits that are not numbers has a place too: an accuracy that means nothing."""
    case = BY_NAME["two_hidden"]
    run = wild(case, 1e200, epochs=5)
    neighbour = dataclasses.replace(run, setting=case.run(precision="float64").setting, seed=9)
    neighbour = dataclasses.replace(
        neighbour, setting=neighbour.setting.replace(training=run.setting.training)
    )
    for result in (trained([run, neighbour], case.data())[0], train_one(run, case.data())):
        assert result.status == "diverged"
        lengths = {name: len(curve) for name, curve in result.curves.items()}
        assert lengths.get("running_accuracy") == lengths.get("running_loss")
        assert (
            lengths.get("validation_accuracy")
            == lengths.get("validation_loss")
            == lengths.get("evaluated_epoch")
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_diverging_neighbour_disturbs_nobody(name):
    case = BY_NAME[name]
    calm = [wild(case, case.setting.optimizer.learning_rate, seed=seed) for seed in (3, 4)]
    storm = [wild(case, rate, seed=seed) for rate, seed in ((1e150, 3), (1e200, 5))]
    data = case.data()
    together = trained([storm[0], calm[0], storm[1], calm[1]], data)
    assert [result.status for result in together][1::2] == ["finished", "finished"]
    assert "diverged" in {result.status for result in together[::2]}
    for result, run in zip(together, (storm[0], calm[0], storm[1], calm[1]), strict=True):
        alone = trained([run], data)[0]
        assert steps([alone]) == steps([result]) == steps([train_one(run, data)])
        if result.status == "finished":
            assert weight_difference(result, alone) <= 1e-10


def test_a_diverged_run_is_the_same_result_alone_and_in_company():
    """Its neighbours train on after it is lost: nothing of what its numbers do then may reach the result."""
    case = BY_NAME["regression"]
    data = case.data()
    # Overflows some epochs before the end.
    lost, calm = wild(case, 30.0, epochs=60), wild(case, 0.03, epochs=60)
    alone, together = trained([lost], data)[0], trained([lost, calm], data)[0]
    assert alone.status == "diverged"
    assert alone.diverged_step < 50 * STEPS_PER_EPOCH
    assert largest_difference(alone, together) <= 1e-6 * max(map(abs, alone.curves["running_loss"]))
    assert len(alone.parameters) == len(together.parameters)


def test_a_run_whose_last_update_breaks_it_is_diverged():
    """No training loss saw it: the evaluation does, and the step is the number of updates."""
    case = BY_NAME["regression_linear_full_batch"]
    data = case.data()
    run = wild(case, 1e200, epochs=1)
    for result in (trained([run], data)[0], train_one(run, data)):
        assert (result.status, result.diverged_step, result.metrics) == ("diverged", 1, {})
        assert all(math.isfinite(v) for curve in result.curves.values() for v in curve)
        assert len(result.curves["running_loss"]) == 1
        assert "validation_loss" not in result.curves or not result.curves["validation_loss"]


def test_a_start_that_is_no_start_diverges_at_step_0():
    case = BY_NAME["regression"]
    run = case.run(precision="float32")
    model = dataclasses.replace(run.setting.model, initialization=Initialization("normal", std=1e30))
    run = dataclasses.replace(run, setting=run.setting.replace(model=model, penalty=Penalty()))
    for result in (trained([run], case.data())[0], train_one(run, case.data())):
        assert (result.status, result.diverged_step) == ("diverged", 0)
        assert not any(result.curves.values())


@pytest.mark.parametrize(
    ("part", "step", "curves"), [("train", None, set()), ("validation", 4, {"running_loss"})]
)
def test_a_loss_that_overflows_once_is_divergence(part, step, curves):
    """One target of 1e25: its loss is no float32 number, its gradient is, and everything after looks well."""
    data = BY_NAME["regression"].data()
    held = data.part(part)
    targets = held.targets.copy()
    targets[7] = 1e25
    data = dataclasses.replace(data, **{part: dataclasses.replace(held, targets=targets)}, fingerprint="")
    run = dataclasses.replace(wild(BY_NAME["regression"], 1e-30, precision="float32"), data=data.fingerprint)
    calm = dataclasses.replace(run, seed=8)
    order = epoch_order(run.seed, 0, 90).tolist()
    expected = order.index(7) // 25 if step is None else step
    for result in (trained([run], data)[0], trained([calm, run], data)[1], train_one(run, data)):
        assert (result.status, result.diverged_step) == ("diverged", expected)
        assert {name: len(curve) for name, curve in result.curves.items()} == dict.fromkeys(curves, 1)
        assert result.metrics == {}


def test_a_group_in_which_all_have_diverged_stops_early():
    case = BY_NAME["regression"]
    run = wild(case, 1e200, epochs=50)
    epochs = [record for record in train([run], case.data()) if isinstance(record, Epoch)]
    assert len(epochs) <= 2
