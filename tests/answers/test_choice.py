"""How answers choose: by validation data, with seeds that do not judge; and what the choosing itself costs."""

from __future__ import annotations

import math
import types

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import Lab, ours
from mlplab.data import load
from mlplab.spec import Setting

widths = ours().exercise("4.2.1").module
many = ours().exercise("4.2.5").module
choice = ours().module("choice")


def runs() -> pd.DataFrame:
    """Two depths, two rates, two seeds; the high rate diverges once at depth 2."""
    scores = {
        ("1", "0.1"): (0.8, 0.8),
        ("1", "1"): (0.9, 0.8),
        ("2", "0.1"): (0.7, 0.7),
        ("2", "1"): (0.95, math.nan),
    }
    return pd.DataFrame(
        [
            {"depth": depth, "rate": rate, "seed": seed, "validation_accuracy": score}
            for (depth, rate), pair in scores.items()
            for seed, score in enumerate(pair)
        ]
    )


def test_a_run_that_diverged_counts_as_guessing():
    assert choice.scored([0.5, math.nan]).tolist() == [0.5, choice.CHANCE]
    # Without its diverged run, the high rate would win at depth 2.
    assert choice.best(runs(), "rate", within="depth") == {"1": "1", "2": "0.1"}
    assert choice.best(runs(), "rate") == {"": "0.1"}


def test_seeds_that_choose_never_judge():
    for seeds in (1, 2, 30):
        lab = Lab("full", seeds=seeds)
        choosing, judging = choice.choosing_seeds(lab, quick=1, full=3), lab.seeds(quick=1, full=20)
        assert len(choosing) == min(3, seeds)
        assert not set(choosing) & set(judging)


def test_the_rule_picks_the_first_width_within_one_standard_error():
    spread = np.array([-0.01, 0.0, 0.01])  # standard error 0.01/√3 = 0.0058
    scores = np.array([[0.80], [0.895], [0.90], [0.899]]) + spread
    assert widths.one_standard_error(scores) == (2, 1)
    assert widths.one_standard_error(scores - np.array([[0], [0.01], [0], [0]])) == (2, 2)


@pytest.mark.parametrize(
    ("m", "exact"), [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))]
)
def test_the_expected_winner_has_its_known_values(m, exact):
    """David and Nagaraja 2003, Order Statistics, section 3.2."""
    assert many.expected_maximum(m) == pytest.approx(exact, abs=1e-9)


def test_one_at_a_time_finds_the_best_of_a_sum_and_not_of_a_product():
    rows, columns = np.arange(3.0)[:, None], np.array([0.0, 5.0, 2.0])
    assert many.one_at_a_time(rows + columns) == 0
    centred = (rows - 1) * np.array([-1.0, 0.0, 1.1])
    assert many.one_at_a_time(centred) > 0


# Searching for a rate


class MadeUpLab:
    """Runs whose validation loss and accuracy are known; those above `breaks` diverge."""

    def __init__(self, loss, *, breaks: float = math.inf, accuracy=lambda rate: 0.8) -> None:
        self.loss, self.breaks, self.accuracy = loss, breaks, accuracy
        self.tried: list[float] = []

    def run(self, study):
        rows = []
        for arm in study.arms:
            rate = arm.setting.optimizer.learning_rate
            self.tried.append(rate)
            is_lost = rate > self.breaks
            loss = math.nan if is_lost else self.loss(rate)
            status = "diverged" if is_lost else "finished"
            rows += [
                {"arm": arm.name, "seed": seed, "status": status, "validation_loss": loss}
                | {"validation_accuracy": math.nan if is_lost else self.accuracy(rate)}
                for seed in study.seeds
            ]
        return types.SimpleNamespace(frame=pd.DataFrame(rows))


@pytest.mark.parametrize("best", [0.03, 0.5, 3.0])
def test_the_search_for_a_rate_goes_on_until_both_neighbours_are_worse(best):
    lab = MadeUpLab(lambda rate: abs(math.log(rate / best)))
    digits = load("digits")
    rate, runs = choice.best_rate(lab, Setting(), range(2), digits, choice.RATES, 0.5)
    place = choice.RATES.index(best)
    assert rate == best
    assert set(choice.RATES[place - 1 : place + 2]) <= set(lab.tried)
    assert len(runs) == 2 * len(lab.tried) == 2 * len(set(lab.tried))
    found = {"net": runs.groupby("learning_rate")["validation_loss"].mean().to_dict()}
    assert choice.is_inside(found).verdict == "holds"
    assert choice.is_inside(choice.up_to_the_lowest(found)).verdict == "fails"


def test_where_accuracy_chooses_the_rate_its_highest_is_the_best():
    # Of a network that grows too sure the loss is lowest at a lower rate.
    lab = MadeUpLab(
        lambda rate: rate, accuracy=lambda rate: 0.8 - 0.1 * abs(math.log(rate / 0.5)), breaks=2.0
    )
    metric = "validation_accuracy"
    rate, runs = choice.best_rate(lab, Setting(), range(2), load("digits"), choice.RATES, 2.0, metric=metric)
    assert rate == 0.5
    found = choice.losses_by_rate(runs.assign(net="one"), "net", metric=metric)
    assert min(found["one"], key=found["one"].__getitem__) == rate
    assert choice.is_inside(found).verdict == "holds"


def test_a_rate_that_breaks_training_is_not_chosen_and_one_at_the_end_of_the_ladder_is_named():
    lab = MadeUpLab(lambda rate: 1 / rate, breaks=1.0)
    rate, runs = choice.best_rate(lab, Setting(), range(1), load("digits"), choice.RATES, 0.5)
    assert rate == 1.0
    assert runs["status"].tolist()[-1] == "diverged"
    lab = MadeUpLab(lambda rate: 1 / rate)
    rate, runs = choice.best_rate(lab, Setting(), range(1), load("digits"), choice.RATES, 5.0)
    assert rate == choice.RATES[-1]
    found = choice.is_inside({"net": dict(zip(runs["learning_rate"], runs["validation_loss"], strict=True))})
    assert (found.verdict, found.detail) == ("fails", "net")


# For new images


class MadeUpHits:
    """Results of two arms on two seeds: which of 400 images each gets right."""

    def __init__(self, *, diverged: bool = False) -> None:
        self.frame = pd.DataFrame(
            [
                {"arm": arm, "seed": seed, "status": "diverged" if diverged and arm == "b" else "finished"}
                for arm in ("a", "b")
                for seed in (0, 1)
            ]
        )

    def test_hits(self, arm: str) -> np.ndarray:
        """Both seeds agree on each image: seeds alone would say that the difference is exactly known."""
        hits = np.arange(400) % 10 < (9 if arm == "a" else 8)
        return np.stack([hits, hits])


def test_an_interval_for_new_images_is_wider_than_that_over_seeds():
    (row,) = choice.on_new_images(MadeUpHits(), {"a - b": ("a", "b")}).to_dict("records")
    assert row["contrast"] == "a - b"
    # 40 of 400 images differ: a standard error of √(.1 · .9/399) = .015.
    assert row["ci_low"] == pytest.approx(0.1 - 1.97 * 0.01502, abs=2e-4)
    assert row["ci_high"] == pytest.approx(0.1 + 1.97 * 0.01502, abs=2e-4)


def test_a_contrast_with_a_diverged_run_has_no_interval_for_new_images():
    assert choice.on_new_images(MadeUpHits(diverged=True), {"a - b": ("a", "b")}).empty


# What a verdict is read from


class WatchedLab(Lab):
    """Remembers what it is asked to train, and makes up what comes of it."""

    def __init__(self) -> None:
        super().__init__("quick", seeds=1)
        self.arms: dict[str, Setting] = {}

    def run(self, study, **options):
        self.arms |= {arm.name: arm.setting for arm in study.arms}
        made_up = dict.fromkeys(
            ("train_loss", "test_loss", "test_accuracy", "validation_loss", "validation_accuracy", "seconds"),
            0.5,
        )
        rows = [
            {"arm": arm.name, "seed": seed, "digest": "", "status": "finished"}
            | made_up
            | {name: str(level) for name, level in arm.levels.items()}
            for arm in study.arms
            for seed in study.seeds
        ]
        return types.SimpleNamespace(frame=pd.DataFrame(rows))


@pytest.mark.parametrize("number", ["4.3.1", "4.3.2"])
def test_only_what_a_reader_will_see_is_read_at_a_constant_rate(number):
    """After the last step of a constant rate, luck is a point or two: no verdict may rest on it."""
    module = ours().exercise(number).module
    lab = WatchedLab()
    module.observe(lab)
    constant = {name for name, setting in lab.arms.items() if setting.optimizer.schedule.kind == "constant"}
    assert constant == {name for name in lab.arms if name.startswith("constant")}
    assert len(constant) == 1
    assert all(setting.training.drop_last for name, setting in lab.arms.items() if name not in constant)
