"""Looking again and again, and stopping at what looks real, is fooled no more often than it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from mlplab import stats
from mlplab.errors import InvalidInput
from mlplab.study import Results
from mlplab.study.adaptive import is_decided, looks, run_until_decided

ARMS = ("base", "one", "two", "three")


class World:
    """Arms with given true means; seed s of an arm is always the same draw. Counts what is asked for."""

    def __init__(self, means: dict[str, float], draw: int, most: int = 100, diverged: str = "") -> None:
        noise = np.random.default_rng(draw).normal(size=(len(means), most))
        self.values = {arm: mean + row for (arm, mean), row in zip(means.items(), noise, strict=True)}
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self.diverged = diverged

    def __call__(self, arms, num_seeds: int) -> Results:
        self.asked.append((tuple(arms), num_seeds))
        rows = [
            {
                "arm": arm,
                "seed": seed,
                "status": "diverged" if arm == self.diverged and seed == 1 else "finished",
                "diverged_step": None,
                "validation_loss": None if arm == self.diverged and seed == 1 else self.values[arm][seed],
                "seconds": 0.1,
            }
            for arm in arms
            for seed in range(num_seeds)
        ]
        return Results.from_records(rows)


def found(means: dict[str, float], draw: int = 0, **claim):
    return run_until_decided(World(means, draw), ARMS, "base", "validation_loss", looks(6, 60), **claim)


def test_looks_grow_and_end_at_the_most():
    assert looks(6, 100) == (6, 10, 16, 26, 42, 67, 100)
    assert looks(10, 10) == (10,)
    assert looks(10, 11) == (10, 11)
    with pytest.raises(InvalidInput):
        looks(1, 5)
    with pytest.raises(InvalidInput):
        looks(10, 5)


def share_fooled(judge, repeats: int) -> int:
    return sum(judge(draw) for draw in range(repeats))


@pytest.mark.slow
def test_peeking_is_paid_for_and_peeking_without_paying_is_caught():
    """150 studies of three arms that do not differ, each looked at up to six times."""
    equal = dict.fromkeys(ARMS, 0.0)
    planned = looks(6, 60)

    def paid(draw: int) -> bool:
        return any(c.verdict == "holds" for c in found(equal, draw).comparisons.values())

    def unpaid(draw: int) -> bool:
        values = World(equal, draw).values
        return any(
            stats.paired(values[arm][:n], values["base"][:n]).verdict == "holds"
            for n in planned
            for arm in ARMS[1:]
        )

    wrong = share_fooled(paid, 150)
    assert binomtest(wrong, 150, 0.05, alternative="greater").pvalue > 0.001, wrong
    control = share_fooled(unpaid, 150)
    assert binomtest(control, 150, 0.05, alternative="greater").pvalue < 1e-6, control


def test_a_clear_difference_is_decided_early_and_gets_no_more_seeds():
    means = {"base": 0.0, "one": 8.0, "two": 0.0, "three": 0.0}
    world = World(means, draw=3)
    decided = run_until_decided(world, ARMS, "base", "validation_loss", looks(6, 60))
    assert decided.comparisons["one"].verdict == "holds"
    assert world.asked[0] == (ARMS, 6)
    assert all("one" not in arms for arms, _ in world.asked[1:])
    assert world.asked[-1][1] == 60
    counts = decided.results.frame.groupby("arm").size()
    assert counts["one"] == 6
    assert counts["two"] == counts["base"] == 60


def test_arms_shown_to_be_equivalent_are_decided_too():
    decided = found(dict.fromkeys(ARMS, 0.0), margin=3.0)
    assert all(is_decided(c) for c in decided.comparisons.values())
    assert decided.results.frame["seed"].max() < 59


def test_an_arm_that_diverges_is_set_aside_and_said():
    world = World(dict.fromkeys(ARMS, 0.0), 0, diverged="two")
    decided = run_until_decided(world, ARMS, "base", "validation_loss", looks(6, 20))
    assert decided.diverged == ("two",)
    assert set(decided.comparisons) == {"one", "three"}
    lost = run_until_decided(
        World(dict.fromkeys(ARMS, 0.0), 0, diverged="base"), ARMS, "base", "validation_loss", looks(6, 20)
    )
    assert lost.comparisons == {}
    assert isinstance(lost.results.frame, pd.DataFrame)
