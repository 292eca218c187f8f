"""Laws of the learning rate over time: it is what `torch.optim.lr_scheduler` gives, update for update."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import lr_scheduler

from mlplab.engine.schedules import rate_factor
from mlplab.spec import Schedule

EPOCHS, STEPS_PER_EPOCH = 6, 5


def factors(schedule: Schedule, steps_per_epoch: int = STEPS_PER_EPOCH) -> list[float]:
    return [rate_factor(schedule, step, steps_per_epoch, EPOCHS) for step in range(EPOCHS * steps_per_epoch)]


def torch_factors(make, *, each: str = "step") -> list[float]:
    """The rates of PyTorch's schedulers for a base rate of 1, stepped after each update or each epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for step in range(EPOCHS * STEPS_PER_EPOCH):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if each == "step" or (step + 1) % STEPS_PER_EPOCH == 0:
            scheduler.step()
    return found


@pytest.mark.parametrize("final", [0.0, 0.2])
def test_cosine_is_cosine_annealing(final):
    expected = torch_factors(
        lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS * STEPS_PER_EPOCH, eta_min=final)
    )
    assert factors(Schedule("cosine", final=final)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("every", "factor"), [(1, 0.5), (2, 0.1), (4, 2.0), (100, 0.1)])
def test_step_is_step_lr(every, factor):
    expected = torch_factors(lambda o: lr_scheduler.StepLR(o, every, factor), each="epoch")
    assert factors(Schedule("step", every=every, factor=factor)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("epochs", [0.4, 1, 2.6])
def test_warmup_is_linear_and_then_the_schedule_goes_on(epochs):
    """Equal steps from 1/(n+1) to 1 at update n; a cosine begins there, with what is left of the updates."""
    steps = round(epochs * STEPS_PER_EPOCH)
    total = EPOCHS * STEPS_PER_EPOCH

    def risen(optimizer):
        return lr_scheduler.LinearLR(optimizer, 1 / (steps + 1), 1.0, total_iters=steps)

    assert factors(Schedule("constant", warmup=epochs)) == pytest.approx(torch_factors(risen), rel=1e-12)

    def risen_and_falling(optimizer):
        cosine = lr_scheduler.CosineAnnealingLR(optimizer, total - steps, eta_min=0.1)
        return lr_scheduler.SequentialLR(optimizer, [risen(optimizer), cosine], [steps])

    found = factors(Schedule("cosine", final=0.1, warmup=epochs))
    assert found == pytest.approx(torch_factors(risen_and_falling), rel=1e-12)
    rising, stepping = (
        factors(Schedule("constant", warmup=epochs)),
        factors(Schedule("step", every=2, factor=0.3)),
    )
    both = [a * b for a, b in zip(rising, stepping, strict=True)]
    assert factors(Schedule("step", every=2, factor=0.3, warmup=epochs)) == pytest.approx(both, rel=1e-12)


def test_without_warmup_a_constant_is_1():
    assert factors(Schedule("constant")) == [1.0] * (EPOCHS * STEPS_PER_EPOCH)


def test_every_factor_is_positive_and_warmup_rises():
    """Also where warm-up is longer than training: cosine never begins, and nothing divides by zero."""
    for schedule in (
        Schedule("constant", warmup=50),
        Schedule("cosine", warmup=50),
        Schedule("cosine", warmup=6),
    ):
        found = factors(schedule)
        assert found == sorted(found)
        assert 0 < found[0] < found[-1] < 1
    for schedule in (Schedule("cosine"), Schedule("step", every=1, factor=0.1)):
        found = factors(schedule)
        assert found == sorted(found, reverse=True)
        assert 0 < found[-1] < found[0] == 1


def test_the_schedule_is_in_epochs_whatever_the_batch():
    """The rate at the start of each epoch does not depend on the number of updates an epoch."""
    for schedule in (Schedule("cosine", final=0.1), Schedule("step", every=2, factor=0.3)):
        assert factors(schedule, 5)[::5] == pytest.approx(factors(schedule, 50)[::50], rel=1e-12)


def test_a_rate_that_grows_without_end_is_infinite_and_no_error():
    schedule = Schedule("step", every=1, factor=10.0)
    assert rate_factor(schedule, 308, 1, 1000) == 1e308
    assert rate_factor(schedule, 400, 1, 1000) == math.inf
