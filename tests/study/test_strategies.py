"""Laws of the search strategies, on a problem whose truth is known and that takes no time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mlplab.errors import InvalidInput, MissingExtra
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.study.space import Space
from mlplab.study.tuning import STRATEGIES, Bench
from mlplab.study.tuning import tpe as tpe_module
from mlplab.study.tuning.halving import (
    bracket_size,
    cost,
    halving,
    highest_bracket,
    hyperband,
    promoted,
    rungs,
)
from mlplab.study.tuning.racing import ALPHA, racing, survivors

every_strategy = pytest.mark.parametrize("name", STRATEGIES)
SPACE = Space(Setting(), learning_rate="loguniform(0.0001,10)", weight_decay="uniform(0,0.1)")


class Problem:
    """The closer to a rate of 0.1, the better; epochs and seeds blur it. Notes what it was asked."""

    def __init__(self, noise: float = 0.0, diverges_above: float = math.inf) -> None:
        self.noise, self.diverges_above = noise, diverges_above
        self.asked: list[tuple[int, int, int]] = []

    def truth(self, arm) -> float:
        return 1 - 0.1 * abs(math.log10(arm.setting.optimizer.learning_rate) + 1)

    def __call__(self, arms, epochs, seeds):
        self.asked.append((len(arms), epochs, len(seeds)))
        rows = []
        for arm in arms:
            row = []
            for seed in seeds:
                draw = int(arm.setting.digest[:12], 16)
                noise = self.noise * float(Stream(draw, "data", step=seed).normal(1)[0])
                lost = arm.setting.optimizer.learning_rate > self.diverges_above
                row.append(-math.inf if lost else self.truth(arm) - 0.5 / epochs + noise)
            rows.append(row)
        return np.array(rows)


def searched(
    name: str, problem: Problem, budget: int = 30, epochs: int = 9, seed: int = 0, space=SPACE
) -> Bench:
    bench = Bench(space, problem, epochs=epochs, budget=budget * epochs)
    STRATEGIES[name](bench, seed)
    return bench


# Hyperband's arithmetic


def test_brackets_are_those_of_the_paper():
    """R = 81, eta = 3. An older printing rounds first, and has 81, 27, 9, 6, 5."""
    assert highest_bracket(81) == 4
    assert [bracket_size(s, 81) for s in (4, 3, 2, 1, 0)] == [81, 34, 15, 8, 5]


def test_bracket_3_climbs_as_in_the_paper():
    ladder = rungs(bracket_size(3, 81), 3, 81)
    assert [(rung.num_settings, rung.epochs) for rung in ladder] == [(34, 3), (11, 9), (3, 27), (1, 81)]


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 27, 50, 81, 100, 243])
def test_every_bracket_ends_with_whole_trainings_and_never_grows(epochs):
    for s in range(highest_bracket(epochs) + 1):
        ladder = rungs(bracket_size(s, epochs), s, epochs)
        assert ladder[-1].epochs == epochs
        for lower, upper in itertools.pairwise(ladder):
            assert lower.num_settings >= upper.num_settings >= 1
            assert lower.epochs < upper.epochs
        assert ladder[0].epochs >= 1


def test_hyperband_asks_for_its_brackets():
    problem = Problem()
    least = sum(cost(rungs(bracket_size(s, 81), s, 81)) for s in range(5))
    bench = Bench(SPACE, problem, epochs=81, budget=least)
    hyperband(bench, 0)
    asked = [(len(list(same)), epochs) for epochs, same in itertools.groupby(t.epochs for t in bench.trials)]
    assert asked[:5] == [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)]
    assert asked[5:9] == [(34, 3), (11, 9), (3, 27), (1, 81)]
    assert [asked[9], asked[12]] == [(15, 9), (8, 27)]
    assert asked[-1] == (2 + 5, 81)


def test_brackets_climb_side_by_side_and_choose_as_one_after_the_other():
    """Two rounds of Hyperband are three programs; promotions and who leads are those of brackets alone."""
    problem, epochs = Problem(0.05), 9
    ladders = [rungs(bracket_size(s, epochs), s, epochs) for s in (2, 1, 0)]
    bench = Bench(SPACE, problem, epochs=epochs, budget=2 * sum(map(cost, ladders)))
    hyperband(bench, 0)
    assert [(count, length) for count, length, _ in problem.asked] == [(18, 1), (6 + 10, 3), (2 + 2 + 6, 9)]
    number, best, scores, alone, led = 0, -math.inf, np.empty(0), [], []
    for ladder in 2 * ladders:
        arms, number = SPACE.draws(0, number, ladder[0].num_settings, without=[arm for arm, _ in alone])
        for rung in ladder:
            arms = arms[: rung.num_settings]
            scores = problem(arms, rung.epochs, [0])[:, 0]
            alone += [(arm, rung.epochs) for arm in arms]
            arms = [arms[place] for place in np.argsort(-scores, kind="stable")]
        if scores.max() > best:
            best = scores.max()
            led.append(arms[0])
    assert [(trial.arm, trial.epochs) for trial in bench.trials] == alone
    assert [arm for _, arm in bench.leads][-len(led) :] == led
    assert bench.spent == bench.budget


def test_a_setting_that_goes_on_costs_only_what_is_new():
    bench = searched("hyperband", Problem(), budget=3, epochs=9)
    ladder = rungs(bracket_size(2, 9), 2, 9)
    assert bench.spent == cost(ladder) == 9 * 1 + 3 * 2 + 1 * 6
    cosine = Space(Setting(), learning_rate="0.01,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9", schedule="cosine")
    bench = Bench(cosine, Problem(), epochs=9, budget=1000)
    arms, _ = cosine.draws(0, 0, 2)
    bench.scores(arms, 3, [0])
    bench.scores(arms, 9, [0])
    assert bench.spent == 2 * (3 + 9), "a cosine over nine epochs does not begin like one over three"


@pytest.mark.parametrize("name", ["halving", "hyperband"])
def test_rungs_that_begin_anew_keep_to_the_budget_too(name):
    space = Space(Setting(), learning_rate="loguniform(0.001,1)", schedule="constant,cosine")
    cosine = Space(turn(Setting(), schedule="cosine"), learning_rate="loguniform(0.001,1)")
    for each in (space, cosine):
        bench = searched(name, Problem(), budget=30, space=each)
        assert 0.5 * bench.budget < bench.spent <= bench.budget


def test_promotion_is_by_score_then_by_place_and_leaves_out_who_diverged():
    assert promoted(np.array([0.1, 0.9, -np.inf, 0.9, 0.5]), 3) == [1, 3, 4]
    assert promoted(np.array([-np.inf, 0.2]), 2) == [1]


# Every strategy


@every_strategy
def test_a_strategy_keeps_to_its_budget_and_uses_most_of_it(name):
    bench = searched(name, Problem(0.02))
    assert 0.7 * bench.budget < bench.spent <= bench.budget
    assert bench.trials[-1].spent == bench.spent


@every_strategy
def test_a_strategy_finds_a_good_setting(name):
    """The best of a hundredth of the space is within 0.01 x 5 decades / 2 of the rate that is best."""
    problem = Problem(0.005)
    bench = searched(name, problem, budget=60)
    assert problem.truth(bench.winner) > 0.95


@every_strategy
def test_the_same_seed_searches_the_same_way(name):
    one, two, other = (searched(name, Problem(0.02), seed=seed) for seed in (1, 1, 2))
    assert [(t.arm.name, t.epochs, t.seed, t.score) for t in one.trials] == [
        (t.arm.name, t.epochs, t.seed, t.score) for t in two.trials
    ]
    assert one.trials[0].arm.name != other.trials[0].arm.name


@every_strategy
def test_leads_are_in_order_and_end_with_the_winner(name):
    bench = searched(name, Problem(0.02))
    spent = [at for at, _ in bench.leads]
    assert spent == sorted(spent)
    assert 0 < spent[0] <= spent[-1] <= bench.spent
    assert bench.leads[-1][1] == bench.winner


@every_strategy
def test_what_diverged_never_wins(name):
    bench = searched(name, Problem(0.0, diverges_above=0.09))
    assert bench.winner.setting.optimizer.learning_rate <= 0.09
    assert any(not math.isfinite(trial.score) for trial in bench.trials)


@every_strategy
def test_a_search_in_which_everything_diverges_says_so(name):
    bench = searched(name, Problem(diverges_above=0.0))
    with pytest.raises(InvalidInput, match="diverged"):
        _ = bench.winner


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "hyperband")) for n in STRATEGIES]
)
def test_a_space_with_few_settings_is_searched_and_left(name):
    space = Space(Setting(), learning_rate="0.001,0.01,0.1,1")
    bench = searched(name, Problem(), budget=100, space=space)
    assert bench.winner.setting.optimizer.learning_rate == 0.1
    assert len({trial.arm.setting for trial in bench.trials}) == 4


@every_strategy
def test_a_budget_that_is_too_small_gets_one_clear_line(name):
    bench = Bench(SPACE, Problem(), epochs=9, budget=8)
    with pytest.raises(InvalidInput, match="budget must be at least") as raised:
        STRATEGIES[name](bench, 0)
    assert "\n" not in str(raised.value)
    assert bench.trials == []


def test_halving_climbs_one_bracket_as_wide_as_the_budget():
    problem = Problem()
    halving(Bench(SPACE, problem, epochs=9, budget=90), 0)
    counts = [count for count, _, _ in problem.asked]
    assert [epochs for _, epochs, _ in problem.asked] == [1, 3, 9]
    assert counts[1] == counts[0] // 3
    assert counts[2] == counts[0] // 9


def test_tpe_looks_closer_where_it_was_good():
    """After its random start, TPE's rates lie nearer the best one than random ones do: over 5 searches."""
    near = []
    for seed in range(5):
        trials = searched("tpe", Problem(0.005), budget=58, seed=seed).trials
        distance = [abs(math.log10(t.arm.setting.optimizer.learning_rate) + 1) for t in trials]
        near.append(np.median(distance[30:]) / np.median(distance[:10]))
    assert np.mean(near) < 0.6


def test_tpe_without_optuna_says_how_to_get_it(monkeypatch):
    def absent(*_, what, extra):
        raise MissingExtra(what, extra)

    monkeypatch.setattr(tpe_module, "import_extra", absent)
    with pytest.raises(MissingExtra, match=r"pip install 'mlplab\[tune\]'"):
        searched("tpe", Problem())


# Racing


def table(differences: list[float], num_seeds: int, draw: int, noise: float = 1.0) -> np.ndarray:
    """Scores (candidate, seed): true differences from the best, luck of the seed shared, and luck of each run."""
    stream = Stream(draw, "data")
    shared = 3 * noise * stream.normal(num_seeds)
    return np.array([-d + shared + noise * stream.normal(num_seeds) for d in differences])


def race_keeps_the_best(draw: int, looks: int = 10) -> bool:
    scores = table([0.0] * 8, 2 + looks, draw)
    standing = list(range(8))
    for look in range(1, looks + 1):
        kept = survivors(scores[standing, : 2 + look], ALPHA / 2**look)
        standing = [standing[i] for i in kept]
    return 0 in standing


def test_the_best_candidate_is_rarely_dropped():
    """Eight equal candidates, ten looks: each is the best. 100 races; 4 standard errors of 5% are 9%."""
    lost = sum(not race_keeps_the_best(draw) for draw in range(100))
    assert lost / 100 < ALPHA + 0.09


def test_control_without_its_corrections_racing_would_drop_the_best():
    """The check above can fail: at level 0.05 for each look and rival, the best is lost far more often."""

    def naive(draw: int) -> bool:
        scores = table([0.0] * 8, 12, draw)
        for look in range(1, 11):
            held = scores[:, : 2 + look]
            difference = held[held.mean(1).argmax()] - held[0]
            spread = difference.std(ddof=1)
            if spread and difference.mean() / (spread / math.sqrt(2 + look)) > 2.0:
                return False
        return True

    assert sum(not naive(draw) for draw in range(100)) / 100 > 2 * (ALPHA + 0.09)


def test_shared_seeds_tell_candidates_apart_that_separate_ones_would_not():
    """The luck of a seed is three times that of a run: pairing takes it out. Over 20 races."""
    paired, mixed = [], []
    for draw in range(20):
        scores = table([0.0, 2.5, 3.0, 3.5], 8, draw)
        paired.append(len(survivors(scores, 0.025)))
        mixed.append(len(survivors(np.array([np.roll(r, shift) for shift, r in enumerate(scores)]), 0.025)))
    assert np.mean(paired) < 1.5 < np.mean(mixed)


def test_who_diverged_on_a_seed_is_out():
    scores = table([0.0, 0.1, 0.2], 4, 1)
    scores[0, 2] = -np.inf
    assert 0 not in survivors(scores, 0.01)
    assert survivors(np.full((2, 3), -np.inf), 0.01) == []


def test_racing_asks_all_candidates_for_the_same_seeds():
    problem = Problem(0.02)
    bench = Bench(SPACE, problem, epochs=9, budget=60 * 9)
    racing(bench, 5)
    assert problem.asked[0] == (12, 9, 3)
    by_arm: dict[str, list[int]] = {}
    for trial in bench.trials:
        by_arm.setdefault(trial.arm.name, []).append(trial.seed)
    first = list(by_arm)[:12]
    assert all(by_arm[name][:3] == [5, 6, 7] for name in first)
    assert max(map(len, by_arm.values())) > 3


def test_a_champion_defends_on_new_seeds():
    bench = Bench(SPACE, Problem(0.0), epochs=3, budget=120 * 3)
    racing(bench, 0)
    seeds = [t.seed for t in bench.trials if t.arm == bench.winner]
    assert len(seeds) == len(set(seeds))
