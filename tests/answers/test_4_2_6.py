"""4.2.6 looks up what it says, and decides right where the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import Observations, ours
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.study import Results
from mlplab.study.tuning import Space

q = ours().exercise("4.2.6").module
chapter = ours().module("chapter")


@pytest.mark.parametrize("size", q.GRIDS)
def test_the_grid_has_every_combination_once(size):
    arms = q.grid(Space(chapter.MLP_SETTING, **q.GRIDS[size]))
    assert (
        len({arm.setting for arm in arms}) == len(arms) == np.prod([len(v) for v in q.GRIDS[size].values()])
    )


def board(num_seeds: int = 3) -> tuple[q.Board, Space]:
    """Six settings of nine epochs: i has accuracy i/10 + epoch/100 + seed/1000; the fifth diverges on seed 1."""
    space = Space(turn(chapter.MLP_SETTING, epochs=9), learning_rate=[0.1, 0.2, 0.3], momentum=[0.0, 0.9])
    arms = q.grid(space)
    points, rows = [], []
    for place, arm in enumerate(arms):
        for seed in range(num_seeds):
            lost = place == 4 and seed == 1
            last = 2 if lost else 9
            points += [
                (arm.name, seed, e, "validation_accuracy", q_at(place, e, seed)) for e in range(1, last + 1)
            ]
            status = {"status": "diverged" if lost else "finished", "diverged_step": 5 if lost else None}
            tested = {"test_accuracy": None if lost else place / 10}
            rows.append({"arm": arm.name, "level": "x", "seed": seed} | status | tested | {"seconds": 1.0})
    curves = [dict(zip(("arm", "seed", "epoch", "metric", "value"), point, strict=True)) for point in points]
    return q.Board(arms, Results.from_records(rows, curves), range(num_seeds)), space


def q_at(place: int, epoch: int, seed: int) -> float:
    return place / 10 + epoch / 100 + seed / 1000


def test_scores_are_those_of_the_table_with_seeds_in_an_order_of_the_repeat():
    table, space = board()
    arms = q.grid(space)
    for repeat in range(4):
        scores = table.evaluate(repeat)(arms, 3, [repeat, repeat + 1, repeat + 2])
        assert sorted(scores[2].round(6)) == [q_at(2, 3, seed) for seed in range(3)]
    lost = table.evaluate(0)(arms[4:5], 9, [0, 1, 2])
    assert np.isinf(lost).sum() == 1
    early = table.evaluate(0)(arms[4:5], 2, [0, 1, 2])
    assert np.isfinite(early).all()


def test_regret_is_against_the_best_of_the_grid_and_a_diverged_run_is_a_guess():
    table, space = board()
    arms = q.grid(space)
    assert table.regret(arms[5]) == 0
    assert table.regret(arms[3]) == pytest.approx(0.2)
    assert table.regret(arms[4]) == pytest.approx(0.5 - (0.4 + 0.1 + 0.4) / 3)


@pytest.mark.parametrize("name", q.NAMES)
def test_every_strategy_finds_the_best_of_a_small_table_without_noise(name):
    table, space = board()
    assert table.regret(q.search(table, space, name, 40, 0)) == 0


def test_sixty_draws_are_enough_and_fifty_eight_are_not():
    assert q.least_draws(q.TOP, 1 - q.TOP) == 59
    assert [q.reaches_the_top(n).verdict for n in (58, 59, 60)] == ["fails", "holds", "holds"]
    assert q.reaches_the_top(60).numbers["probability"] == pytest.approx(1 - 0.95**60)


def world(ahead: float, repeats: int = 100) -> Observations:
    """Random search gives away 2 points on average; each rival `ahead` less."""
    rows = []
    for layer, name in enumerate(q.NAMES):
        luck = 0.003 * Stream(0, "data", layer=layer).normal(repeats)
        regrets = 0.02 - (0 if name == "random" else ahead) + luck
        rows += [
            {"strategy": name, "budget": q.COMPARED_AT, "repeat": r, "regret": x}
            for r, x in enumerate(regrets)
        ]
    return Observations({"regrets": pd.DataFrame(rows)})


@pytest.mark.parametrize(("ahead", "verdict"), [(0.01, "holds"), (0.0, "fails"), (-0.01, "fails")])
def test_claims_find_the_truth_and_reject_the_falsehood(ahead, verdict):
    seen = world(ahead)
    for claim in q.ANSWER.claims[1:]:
        if claim.post_hoc:  # it is read off the whole table, which this world does not have
            continue
        assert claim.examine(seen).verdict == verdict
        assert claim.control(seen).verdict == "fails"
