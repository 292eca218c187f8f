"""Laws of the fast path: it computes what the reference computes, and no run notices the others."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch

from mlplab import engine
from mlplab.engine import Epoch, Result, draws, train
from mlplab.engine.group import bytes_of_run, group_key, train_group
from mlplab.engine.reference import train_one
from mlplab.engine.stacked import Models
from mlplab.rng import Stream
from mlplab.spec import Initialization, Noise, Optimizer, Penalty, Run, Schedule

from .cases import BY_NAME, CASES, STRUCTURAL, dataset, largest_difference, weight_difference

all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
structural_cases = pytest.mark.parametrize("case", [BY_NAME[name] for name in STRUCTURAL], ids=STRUCTURAL)
structural_cases_at_once = pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c.name in STRUCTURAL else pytest.mark.slow) for c in CASES],
    ids=[case.name for case in CASES],
)

# Rounding (1e-16; 1e-7) grows over some ten updates to 1e-14 (1e-6); a wrong term in an update shows at 1e-4.
ROUNDING = {"float64": 1e-10, "float32": 1e-5}
# A sum in another order may round to the neighbouring bfloat16 number: 2^-8 of a product, over ten updates.
ROUNDING_MIXED = 0.02


def results(runs, data) -> list[Result]:
    """The results of `train`, in the order of `runs`."""
    found: dict[str, Result] = {
        record.run.digest: record for record in train(runs, data) if isinstance(record, Result)
    }
    return [found[run.digest] for run in runs]


def readable(run, data) -> Result:
    """The result of the stacked engine by autograd."""
    records = train_group([run], {data.fingerprint: data}, torch.device("cpu"), Models)
    return next(record for record in records if isinstance(record, Result))


def solo(run, data) -> Result:
    return results([run], data)[0]


def pool(case, precision) -> list[Run]:
    """The case's run, and six of other rates, decays, dropout rates, starts and seeds in its group."""
    run = case.run(precision=precision)
    others = []
    for i, start in enumerate(
        ("normal", "linear", "xavier_uniform", "kaiming_normal", "orthogonal", "zeros")
    ):
        setting = run.setting
        old = setting.optimizer
        new = {"learning_rate": old.learning_rate * (0.1 + 0.3 * i), "epsilon": 10.0**-i}
        new |= {"momentum": 0.1 + 0.15 * i} if old.momentum else {}
        new |= {"beta1": 0.1 * i, "beta2": 0.99 - 0.1 * i} if old.kind in ("adam", "adamw", "lamb") else {}
        new |= {"trust_coefficient": 0.01 * (i + 1), "clip_norm": 0.5 * i or None}
        new |= {"schedule": Schedule("step", every=1, factor=0.5 + 0.1 * i, warmup=0.2 * i)}
        penalty = setting.penalty
        setting = setting.replace(
            model=dataclasses.replace(setting.model, initialization=Initialization(start), start=None),
            noise=[_at_strength(noise, 0.15 * i) for noise in setting.noises] or "none",
            optimizer=dataclasses.replace(old, **new),
            penalty=dataclasses.replace(
                penalty,
                weight_decay=0.01 * i,
                l1=0.002 * (6 - i),
                proximal=i == 3,
                prior_weight=penalty.prior_weight * (i + 1),
            ),
        )
        # Two share the case's seed: they share its bits, and must not share its mask.
        others.append(dataclasses.replace(run, setting=setting, seed=run.seed + max(i - 1, 0)))
    return [*others[:2], run, *others[2:]]


def _at_strength(noise: Noise, strength: float) -> Noise:
    kind = "dropout" if noise.kind == "none" else noise.kind
    # No noise is grouped with dropout alone.
    strength = strength if kind == "dropout" else strength + 0.05
    return Noise(kind, **dict.fromkeys(Noise.KINDS[kind], strength))


@all_cases
def test_stacked_equals_reference(case):
    """The fast path is never the only path (law 7): weights, metrics, curves and all else, in float64."""
    run, data = case.run(precision="float64"), case.data()
    expected = train_one(run, data)
    assert largest_difference(solo(run, data), expected) <= 1e-10
    assert largest_difference(readable(run, data), expected) <= 1e-10


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("average", {"average_epochs": 1}),  # it begins an epoch late
        ("average_norm_prelu_dropout_hits", {"average_epochs": 3}),  # an epoch early
        ("drop_last", {"drop_last": False}),
    ],
)
def test_a_wrong_average_and_a_partial_batch_are_noticed(name, change):
    """Known-false controls of the comparison above."""
    run, data = BY_NAME[name].run(precision="float64"), BY_NAME[name].data()
    training = dataclasses.replace(run.setting.training, **change)
    other = dataclasses.replace(run, setting=run.setting.replace(training=training))
    assert largest_difference(solo(run, data), train_one(other, data)) > 1e-4


def test_a_flipped_hit_is_noticed():
    case = BY_NAME["average_norm_prelu_dropout_hits"]
    expected = train_one(case.run(precision="float64"), case.data())
    flipped = expected.test_hits.copy()
    flipped[1] ^= 16
    assert largest_difference(dataclasses.replace(expected, test_hits=flipped), expected) >= 1


def test_the_average_is_that_of_the_weights_after_every_update():
    """With NumPy, from the weights that were kept: a full batch has one update an epoch."""
    case = BY_NAME["regression_linear_full_batch"]
    run, data = case.run(precision="float64"), case.data()
    training = dataclasses.replace(run.setting.training, epochs=6, keep_weights=range(1, 7), average_epochs=4)
    run = dataclasses.replace(run, setting=run.setting.replace(training=training))
    found = solo(run, data)
    weight, bias = (np.mean([found.kept[epoch][0][i] for epoch in (3, 4, 5, 6)], axis=0) for i in (0, 1))
    for name, part in data.parts.items():
        loss = np.square(part.features @ weight.T + bias - part.targets).sum(1).mean() / 2
        assert abs(loss - found.metrics[f"average_{name}_loss"]) <= 1e-10
        assert abs(loss - found.metrics[f"{name}_loss"]) > 1e-4


@pytest.mark.parametrize("name", ["dropout", "batch_norm_adam", "bfloat16", "full_batch"])
def test_whoever_averages_and_counts_hits_trains_the_same(name):
    """The average stands beside what was there: last weights, their metrics and curves, bit for bit."""
    run, data = BY_NAME[name].run(), BY_NAME[name].data()
    training = dataclasses.replace(run.setting.training, average_epochs=2, probes=("test_hits",))
    watched = solo(dataclasses.replace(run, setting=run.setting.replace(training=training)), data)
    plain = solo(run, data)
    assert {name for name in watched.metrics if name not in plain.metrics} == {
        f"average_{name}" for name in plain.metrics
    }
    same = {name: watched.metrics[name] for name in plain.metrics}
    assert largest_difference(dataclasses.replace(watched, metrics=same, test_hits=None), plain) == 0


def test_hits_are_those_of_the_accuracy_that_stands_beside_them():
    """Of the averaged weights where there are any, else of the last; else of the best."""
    for name, reading in (("average", "average_test"), ("dropout", "test"), ("patience", "test")):
        run, data = BY_NAME[name].run(precision="float64"), BY_NAME[name].data()
        training = dataclasses.replace(run.setting.training, probes=("test_hits",))
        found = solo(dataclasses.replace(run, setting=run.setting.replace(training=training)), data)
        assert found.test_hits.nbytes == -(-data.test.num_examples // 8)
        hits = np.unpackbits(found.test_hits, count=data.test.num_examples)
        assert hits.mean() == pytest.approx(found.metrics[f"{reading}_accuracy"], abs=1e-12)


def test_no_update_follows_a_partial_batch_that_is_dropped():
    """90 examples in batches of 25: three updates an epoch, and a mean of 75 examples."""
    case = BY_NAME["drop_last"]
    run, data = case.run(precision="float64"), case.data()
    batches = Models([run], {data.fingerprint: data}, torch.device("cpu")).batches
    assert [batch.num_examples for block in batches.epoch(0) for batch in block.batches] == [25, 25, 25]
    assert batches.steps_per_epoch == 3
    one = dataclasses.replace(run.setting.training, batch_size=75, epochs=1, drop_last=True)
    large = solo(dataclasses.replace(run, setting=run.setting.replace(training=one)), data)
    order = draws.epoch_order(run.seed, 0, 90)[:75]
    (first_weight, first_bias), (last_weight, last_bias) = draws.initial_parameters(
        run.setting, 8, 4, run.seed, data.train.features
    )
    x, y = torch.from_numpy(data.train.features)[order].double(), torch.from_numpy(data.train.targets)[order]
    hidden = (x @ first_weight.T + first_bias).relu()
    loss = torch.nn.functional.cross_entropy(hidden @ last_weight.T + last_bias, y)
    assert large.curves["running_loss"] == pytest.approx([loss.item()], abs=1e-12)


@structural_cases_at_once
def test_mixed_precision_equals_reference(case):
    run, data = case.run(precision="bfloat16"), case.data()
    expected, fast = train_one(run, data), solo(run, data)
    assert largest_difference(fast, expected) <= ROUNDING_MIXED
    assert largest_difference(readable(run, data), expected) <= ROUNDING_MIXED
    assert weight_difference(fast, train_one(case.run(precision="float32"), data)) > 0, "it does round"


@all_cases
def test_training_together_changes_no_member(case):
    """Membership (law 1): alone, in a pool of seven, and in that pool in another order.

    Two of the seven are also trained alone: the case's own run, and one without its start.
    """
    check_membership(case, "float64", trained_alone=(2, 5))


@structural_cases_at_once
def test_training_together_changes_no_member_in_float32(case):
    check_membership(case, "float32", trained_alone=(2, 5))


@pytest.mark.slow
@structural_cases
def test_training_together_changes_none_of_seven_members(case):
    check_membership(case, "float32", trained_alone=range(7))


def check_membership(case, precision, trained_alone) -> None:
    runs, data = pool(case, precision), case.data()
    assert len({group_key(run, data) for run in runs}) == 1, "one group: they are trained together"
    assert len(set(runs)) == 7
    order = np.random.default_rng(0).permutation(7)
    shuffled = dict(zip(order, results([runs[i] for i in order], data), strict=True))
    together = results(runs, data)
    for i in range(7):
        assert weight_difference(together[i], shuffled[i]) <= ROUNDING[precision]
    for i in trained_alone:
        alone = solo(runs[i], data)
        assert weight_difference(alone, together[i]) <= ROUNDING[precision]
        assert weight_difference(alone, shuffled[i]) <= ROUNDING[precision]


@all_cases
@pytest.mark.parametrize("step", [0, 5])
def test_masks_are_the_same_bit_for_bit(case, step):
    """What a member's noise draws, and what it makes of ones: alone, in the pool, and in the permuted pool."""
    runs, data = pool(case, "float32"), case.data()
    order = np.random.default_rng(1).permutation(7)
    together, shuffled = (
        _masks(members, data, step, slope=0.25) for members in (runs, [runs[i] for i in order])
    )
    for layer in range(len(case.setting.model.hidden_sizes)):
        assert (together[layer] != 1).any(), "somebody disturbs something"
        for i, run in enumerate(runs):
            alone = _masks([run], data, step, slope=0.25)[layer]
            alone = alone[0] if len(alone) else torch.ones_like(together[layer][i])
            assert torch.equal(alone, together[layer][i])
            assert torch.equal(alone, shuffled[layer][list(order).index(i)])


def _masks(runs, data, step, batch=25, slope=0.0) -> list[torch.Tensor]:
    """What each hidden layer's noise makes of ones: (model, batch, unit).

    With a slope, of 1, 1 + slope, ... down the batch, less what these are above 1: some noises leave a constant alone.
    """
    models = Models(runs, {data.fingerprint: data}, torch.device("cpu"))
    masks = []
    for layer, (noise, numbers) in enumerate(zip(models.noises, models.drawn(step, batch), strict=True)):
        weight = models.weights[layer]
        rows = weight.shape[1] if noise is not None and noise.on == "weights" else batch
        above = (slope * torch.arange(rows))[:, None].expand(len(runs), rows, weight.shape[2])
        masks.append(above[:0] if noise is None else noise(1 + above, numbers) - above)
    return masks


@pytest.mark.parametrize("step", [0, 5])
def test_a_mask_is_what_its_stream_says(step):
    """From the stream's bits alone: an activation survives where its 16 bits, signed, reach the rate's place."""
    case = BY_NAME["dropout_by_layer"]
    run, data = case.run(precision="float32"), case.data()
    masks = _masks([run], data, step)
    for layer, (noise, units) in enumerate(
        zip(run.setting.noises, case.setting.model.hidden_sizes, strict=True)
    ):
        if noise.kind == "none":
            assert not len(masks[layer])
            continue
        bits = Stream(run.seed, "noise", layer, step).bits(-(-25 * units // 4)).view("<u2")[: 25 * units]
        survives = (bits.astype(np.int32) ^ 0x8000) >= round(noise.rate * 65536)
        assert np.array_equal(masks[layer][0].numpy() != 0, survives.reshape(25, units))


@pytest.mark.parametrize("name", ["dropout_adam_decay", "regression", "linear_model"])
def test_a_group_may_hold_many_data_sets(name):
    """Each run is trained on the data set it names, beside runs of other draws of the same shapes."""
    case = BY_NAME[name]
    data = {case.data(draw).fingerprint: case.data(draw) for draw in range(3)}
    # Not the data sets' order, two draws of one seed, and two seeds of one draw.
    runs = [case.run(seed, "float64", draw) for seed, draw in [(1, 2), (1, 0), (2, 1), (2, 2), (3, 0)]]
    assert len({group_key(run, data[run.data]) for run in runs}) == 1
    for run, result in zip(runs, results(runs, data), strict=True):
        assert largest_difference(result, train_one(run, data[run.data])) <= 1e-10
    assert weight_difference(*results(runs[:2], data)) > 1e-3, "another draw is another result"


def test_equal_runs_give_equal_results():
    case = BY_NAME["dropout"]
    run, other = case.run(1), case.run(2)
    records = [r for r in train([run, other, run], case.data()) if isinstance(r, Result)]
    first, second = [r for r in records if r.run == run]
    (third,) = [r for r in records if r.run == other]
    assert largest_difference(first, second) == 0
    assert weight_difference(first, third) > 1e-3


def test_a_mixed_list_gives_what_each_run_gives_alone():
    """Widths, depths, activations, optimisers and precisions of any mix in one call."""
    names = [
        "act_relu",
        "act_tanh",
        "act_elu",
        "two_hidden",
        "linear_model",
        "without_bias",
        "dropout_by_layer",
    ]
    names += ["momentum", "nesterov", "adam", "adamw", "float64", "full_batch", "evaluate_every_2"]
    data = dataset("classification")
    runs = [BY_NAME[name].run(seed) for seed in (1, 2) for name in names]
    for run, result in zip(runs, results(runs, data), strict=True):
        assert largest_difference(result, solo(run, data)) <= ROUNDING[run.setting.training.precision]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_chunking_changes_nothing(monkeypatch, most):
    """Seven runs in chunks of one, of at most two, and of at most five."""
    case = BY_NAME["dropout"]
    runs, data = pool(case, "float64"), case.data()
    whole = results(runs, data)
    monkeypatch.setattr("mlplab.engine.chunking.CACHE_BYTES", most * bytes_of_run(runs[0].setting, data))
    parts = engine.chunks(runs, {data.fingerprint: data})
    assert sorted(run.digest for part in parts for run in part) == sorted(run.digest for run in runs)
    assert {len(part) for part in parts} == {1: {1}, 2: {1, 2}, 5: {3, 4}}[most]
    assert max(map(weight_difference, whole, results(runs, data))) <= 1e-10


@pytest.mark.parametrize("numbers", [1, 2_000])
@pytest.mark.parametrize("name", ["dropout", "weighted_regression", "drop_last"])
def test_gathering_batches_one_by_one_or_several_at_once_changes_nothing(monkeypatch, name, numbers):
    """Also where several models share a seed, in an order of their own."""
    case = BY_NAME[name]
    runs, data = pool(case, "float64"), case.data()
    whole = results(runs, data)
    monkeypatch.setattr("mlplab.engine.batches.BLOCK_NUMBERS", numbers)
    assert max(map(largest_difference, whole, results(runs, data))) <= 1e-10


@pytest.mark.parametrize("examples", [1, 50])
def test_evaluation_in_pieces_changes_nothing(monkeypatch, examples):
    case = BY_NAME["dropout"]
    runs, data = pool(case, "float64"), case.data()
    whole = results(runs, data)
    monkeypatch.setattr("mlplab.engine.batches.EVALUATION_EXAMPLES", examples)
    assert max(map(largest_difference, whole, results(runs, data))) <= 1e-10


def test_every_run_reports_each_epoch_once_and_then_its_result():
    case = BY_NAME["evaluate_every_2"]
    runs = [case.run(1), case.run(2)]
    records = list(train(runs, case.data()))
    assert Counter((run, r.number) for r in records if isinstance(r, Epoch) for run in r.runs) == {
        (run, number): 1 for run in runs for number in range(1, 6)
    }
    assert [type(r) for r in records[-2:]] == [Result, Result]
    result = records[-1]
    assert result.curves["evaluated_epoch"] == [2, 4, 5], "every second epoch, and the last"
    assert len(result.curves["validation_loss"]) == len(result.curves["validation_accuracy"]) == 3
    assert len(result.curves["running_loss"]) == 5
    assert result.curves["validation_loss"][-1] == result.metrics["validation_loss"]
    assert all(weight.dtype == np.float32 for weight, _ in result.parameters)


def test_no_runs_give_no_records():
    assert list(train([], dataset("regression"))) == []


def test_a_data_set_without_test_part_is_never_tested():
    data = dataset("classification", test_part=False)
    run = dataclasses.replace(BY_NAME["dropout"].run(precision="float64"), data=data.fingerprint)
    result = solo(run, data)
    assert set(result.metrics) == {f"{p}_{m}" for p in ("train", "validation") for m in ("loss", "accuracy")}
    assert largest_difference(result, train_one(run, data)) <= 1e-10


def test_metrics_are_those_of_the_returned_weights():
    """Recomputed here with NumPy from the parameters of the result."""
    case = BY_NAME["regression"]
    data, result = case.data(), solo(case.run(precision="float64"), case.data())
    (w1, b1), (w2, b2) = result.parameters
    for name, part in data.parts.items():
        outputs = np.maximum(part.features @ w1.T + b1, 0) @ w2.T + b2
        loss = np.square(outputs - part.targets).sum(1).mean() / 2
        assert abs(loss - result.metrics[f"{name}_loss"]) <= 1e-10


def test_optimizer_numbers_differ_inside_a_group():
    """A pool whose members differ in one number of the optimiser or penalty, each, equals each alone."""
    case = BY_NAME["adamw_decay"]
    run, data = case.run(precision="float64"), case.data()
    variants = [
        run.setting.replace(optimizer=Optimizer("adamw", 0.02, **change))
        for change in ({}, {"beta1": 0.5}, {"beta2": 0.9}, {"epsilon": 0.1})
    ]
    variants += [
        run.setting.replace(penalty=penalty) for penalty in (Penalty(), Penalty(0.3, 0.1), Penalty(1.0))
    ]
    runs = [dataclasses.replace(run, setting=setting) for setting in variants]
    together = results(runs, data)
    for run, result in zip(runs, together, strict=True):
        assert largest_difference(result, train_one(run, data)) <= 1e-10
    assert len({result.metrics["train_loss"] for result in together}) == 7
