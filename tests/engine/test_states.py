"""A run that goes on from where it was ends where it would have ended (law 1), for training in pieces."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlplab import engine
from mlplab.engine import Result, State, draws, train
from mlplab.errors import InvalidInput
from mlplab.spec import Run

from .cases import BY_NAME, CASES, dataset, largest_difference
from .test_stacked import pool, results


def with_epochs(run: Run, epochs: int) -> Run:
    training = dataclasses.replace(run.setting.training, epochs=epochs)
    return dataclasses.replace(run, setting=run.setting.replace(training=training))


def in_pieces(runs, data, *cuts: int, device: str = "cpu") -> list[Result]:
    """Train up to each of `cuts` epochs, then to the end, each time from where the last one stopped."""
    states: dict[Run, State] = {}
    found: dict[Run, Result] = {}
    for epochs in (*cuts, runs[0].setting.training.epochs):
        asked = {with_epochs(run, epochs): run for run in runs}
        given = {now: states[run] for now, run in asked.items() if run in states}
        for record in train(list(asked), data, states=given, keep_states=True, device=device):
            if isinstance(record, Result):
                assert record.state is not None
                found[asked[record.run]] = record
                states[asked[record.run]] = record.state
    return [found[run] for run in runs]


def cut(case) -> int:
    """Where a training may be cut in two, early."""
    training = case.setting.training
    least = max((1, training.average_epochs, *training.keep_weights))
    every = training.evaluate_every
    return -(-least // every) * every


def is_cuttable(case) -> bool:
    training = case.setting.training
    last = training.epochs - max(training.average_epochs, 1)
    return case.setting.optimizer.schedule.kind != "cosine" and cut(case) <= last


CUTTABLE = [case for case in CASES if is_cuttable(case)]
# One of each part of a state; the others in the slow step.
AT_ONCE = """dropout_adam_decay nesterov_decay_l1 lamb_decay_l1_dropout batch_norm_by_layer prelu_deep_decay
noise_by_layer schedule_step_warmup_momentum patience probes_deep_norm_noise weighted_regression
patience_2_every_2_norm_prelu_noise without_bias
bfloat16_deep_norm_dropconnect average_norm_prelu_dropout_hits drop_last""".split()


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case.name in AT_ONCE else pytest.mark.slow) for case in CUTTABLE],
    ids=[case.name for case in CUTTABLE],
)
def test_a_training_in_two_pieces_is_the_training_in_one(case):
    """Bit for bit: the same masks, and the same sums, for seven runs of one group."""
    runs, data = pool(case, None), case.data()
    whole, pieces = results(runs, data), in_pieces(runs, data, cut(case))
    assert max(map(largest_difference, whole, pieces)) == 0.0


def test_almost_every_case_is_cut():
    assert len(CUTTABLE) > 0.8 * len(CASES)
    assert {case.name for case in CUTTABLE} >= set(AT_ONCE)


def test_a_promoted_run_does_not_notice_who_was_left_behind():
    """Of seven runs, three go on: the same to rounding as all seven, and as trained from the beginning alone."""
    case = BY_NAME["noise_by_layer_momentum_decay"]
    runs, data = pool(case, "float64"), case.data()
    states = {}
    first = [with_epochs(run, 1) for run in runs]
    for record in train(first, data, keep_states=True):
        if isinstance(record, Result):
            states[record.run] = record.state
    promoted = [runs[i] for i in (5, 0, 2)]
    given = {run: states[with_epochs(run, 1)] for run in promoted}
    found = {r.run: r for r in train(promoted, data, states=given) if isinstance(r, Result)}
    alone = [results([run], data)[0] for run in promoted]
    assert max(largest_difference(found[r.run], r) for r in alone) < 1e-10


def test_runs_with_and_without_a_state_are_trained_by_one_call():
    case = BY_NAME["dropout"]
    runs, data = pool(case, "float64"), case.data()
    (early,) = [r for r in train([with_epochs(runs[0], 2)], data, keep_states=True) if isinstance(r, Result)]
    assert early.state is not None
    assert len(engine.chunks(runs, {data.fingerprint: data}, states={runs[0]: early.state})) == 2
    found = {r.run: r for r in train(runs, data, states={runs[0]: early.state}) if isinstance(r, Result)}
    assert max(largest_difference(found[r.run], r) for r in results(runs, data)) < 1e-10


def test_what_went_before_is_not_trained_again(monkeypatch):
    """Each update draws its noise once, whether training is cut or not."""
    drawn = []
    original = draws.noise_of_seeds

    def note(kind, seeds, layer, step, shape):
        drawn.append(step)
        return original(kind, seeds, layer, step, shape)

    monkeypatch.setattr(draws, "noise_of_seeds", note)
    case = BY_NAME["dropout"]
    in_pieces([case.run()], case.data(), 1, 2)
    assert sorted(drawn) == list(range(3 * 4))  # 90 examples in batches of 25, three epochs


def test_a_run_that_diverged_or_stopped_stays_as_it_was():
    wild = BY_NAME["dropout"].run()
    wild = dataclasses.replace(
        wild,
        setting=wild.setting.replace(
            optimizer=dataclasses.replace(wild.setting.optimizer, learning_rate=1e30)
        ),
    )
    data = dataset("classification")
    (whole,), (pieces,) = results([wild], data), in_pieces([wild], data, 1, 2)
    assert whole.status == "diverged"
    assert largest_difference(whole, pieces) == 0.0
    stopping = BY_NAME["keep_weights_patience"].run()
    stopping = dataclasses.replace(
        stopping,
        setting=stopping.setting.replace(
            training=dataclasses.replace(stopping.setting.training, keep_weights=(), epochs=40)
        ),
    )
    (whole,), (pieces,) = results([stopping], data), in_pieces([stopping], data, 1, 12, 30)
    assert whole.best_epoch is not None
    assert whole.best_epoch < 30
    assert largest_difference(whole, pieces) == 0.0


@pytest.mark.parametrize("cut", [2, 4])
def test_an_average_of_fewer_epochs_is_left_behind(cut):
    """Each piece averages its own last two epochs; the last piece those of the whole."""
    case = BY_NAME["average_norm_prelu_dropout_hits"]
    runs, data = [with_epochs(run, 6) for run in pool(case, "float64")], case.data()
    whole, pieces = results(runs, data), in_pieces(runs, data, cut)
    assert max(map(largest_difference, whole, pieces)) == 0.0


def test_an_average_is_kept_with_what_has_ended():
    """Asked for again with no more epochs, a run has the result that it had."""
    case = BY_NAME["average_norm_prelu_dropout_hits"]
    runs, data = pool(case, "float64"), case.data()
    whole, again = results(runs, data), in_pieces(runs, data, 4)
    assert max(map(largest_difference, whole, again)) == 0.0


def test_no_state_is_kept_unless_it_is_asked_for():
    case = BY_NAME["dropout"]
    assert results([case.run()], case.data())[0].state is None


def test_a_state_holds_its_own_run_alone():
    """A view would keep the whole group in memory."""
    case = BY_NAME["dropout"]
    for result in in_pieces(pool(case, "float32"), case.data(), 1):
        assert result.state is not None
        for tensor in result.state.learned:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_seconds_are_those_of_all_pieces():
    case = BY_NAME["dropout"]
    (early,) = [
        r for r in train([with_epochs(case.run(), 1)], case.data(), keep_states=True) if isinstance(r, Result)
    ]
    state = dataclasses.replace(early.state, seconds=100.0)
    (late,) = [
        r for r in train([case.run()], case.data(), states={case.run(): state}) if isinstance(r, Result)
    ]
    assert late.seconds > 100.0


@pytest.mark.parametrize(
    ("name", "epochs", "said"),
    [
        ("schedule_cosine", 1, "must not be 'cosine'"),
        ("evaluate_every_2", 3, "must divide the 3 epochs"),
        ("average", 2, "must leave its average to epochs after the 2"),
        ("dropout", 5, "same run with no more epochs"),
    ],
)
def test_what_cannot_go_on_is_refused_before_anything_is_trained(name, epochs, said):
    case = BY_NAME[name]
    early = with_epochs(case.run(), epochs)
    (held,) = [r for r in train([early], case.data(), keep_states=True) if isinstance(r, Result)]
    with pytest.raises(InvalidInput, match=said):
        list(train([case.run()], case.data(), states={case.run(): held.state}))


def test_the_state_of_another_run_is_refused():
    case = BY_NAME["dropout"]
    (held,) = [r for r in train([case.run(seed=4)], case.data(), keep_states=True) if isinstance(r, Result)]
    with pytest.raises(InvalidInput, match="same run"):
        list(train([case.run(seed=3)], case.data(), states={case.run(seed=3): held.state}))


def test_curves_are_whole():
    case = BY_NAME["probes"]
    (found,) = in_pieces([case.run()], case.data(), 1, 2)
    assert found.curves["evaluated_epoch"] == [1.0, 2.0, 3.0]
    assert all(np.isfinite(points).all() for points in found.curves.values())


def test_weights_that_were_kept_stay_kept():
    run, data = BY_NAME["dropout"].run(), BY_NAME["dropout"].data()
    training = dataclasses.replace(run.setting.training, keep_weights=(1,))
    run = dataclasses.replace(run, setting=run.setting.replace(training=training))
    (whole,), (pieces,) = results([run], data), in_pieces([run], data, 1, 2)
    assert list(pieces.kept) == [1]
    assert largest_difference(whole, pieces) == 0.0
