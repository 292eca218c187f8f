"""What the answers on dropout compute from runs, beside the same written another way; runs are made up, not trained."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from mlplab import data, engine
from mlplab.answers import Observations, ours
from mlplab.answers.checks import beats
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.stats import mean_interval
from mlplab.study import Arm, Study

q2 = ours().exercise("4.6.2").module
q3 = ours().exercise("4.6.3").module
q4 = ours().exercise("4.6.4").module
q5 = ours().exercise("4.6.5").module
choice = ours().exercise("4.6.5").module.choice
q7 = ours().exercise("4.6.7").module

# 4.6.2


def curves(value) -> pd.DataFrame:
    """Both arms on one seed, evaluated every 5 of 100 epochs: `value(arm, epoch)`."""
    rows = [
        {"arm": arm, "seed": 0, "epoch": epoch, "metric": metric, "value": value(arm, epoch)}
        for arm in q2.ARMS
        for epoch in range(5, 101, 5)
        for metric in ("train_loss", "validation_loss")
    ]
    return pd.DataFrame(rows)


def test_early_half_and_late_are_the_epochs_that_they_say():
    stages = q2.stages(curves(lambda arm, epoch: float(epoch)), early=10)
    (found,) = [row for row in stages.to_dict("records") if row["arm"] == "with"]
    expected = {"early": 10.0, "half": np.mean([40, 45, 50, 55, 60]), "late": np.mean([85, 90, 95, 100])}
    assert {stage: found[f"train_loss_{stage}"] for stage in expected} == expected


def test_the_early_epoch_is_the_evaluated_one_next_to_the_sections():
    assert q2.nearest_epoch(curves(lambda arm, epoch: 0.0), 10) == 10
    assert q2.nearest_epoch(curves(lambda arm, epoch: 0.0), 12) == 10


def test_a_run_that_diverged_guesses_from_then_on():
    points = pd.DataFrame(
        {"arm": "with", "seed": [0, 0, 1, 1, 2], "epoch": [5, 10, 5, 10, 5], "metric": "validation_accuracy",
         "value": [0.8, 0.9, 0.7, 0.8, 0.6]}
    )  # fmt: skip
    runs = pd.DataFrame({"arm": ["with", "with", "with", "without"], "seed": [0, 1, 2, 0]})
    found = q2.accuracies(points, runs).set_index(["arm", "seed", "epoch"])["value"]
    assert found["with", 2, 5] == 0.6
    assert found["with", 2, 10] == found["without", 0, 5] == found["without", 0, 10] == 0.1
    assert len(found) == 8


def test_a_run_breaks_down_that_diverges_goes_back_or_had_lost_it_before():
    """The loss is the mean over an epoch: what its last batch left says little. A run that had blown up by the early
    epoch, and has found back since, broke down all the same."""
    late = [0.1, 0.4, 2.3, 0.3, 0.3, np.nan]
    runs = pd.DataFrame(
        {"arm": "fast with", "seed": range(6), "status": ["finished"] * 5 + ["diverged"],
         "running_loss_early": [0.3, 0.3, 0.3, 1.4, 0.4, 0.3], "running_loss_half": [0.2, 0.3, 2.3, 0.35, 0.2, np.nan],
         "running_loss_late": late, "train_loss_early": 0.3, "train_loss_late": [0.4, 0.1, 2.3, 0.3, 0.3, np.nan],
         "train_loss": [0.4, 0.1, 2.3026, 0.3, 0.3, np.nan], "test_accuracy": [0.9, 0.8, 0.1, 0.8, 0.8, np.nan]}
    )  # fmt: skip
    seen = Observations({"runs": runs})
    assert q2.breaks_down(seen, "fast with").tolist() == [False, True, True, True, True, True]
    assert q2.answers_alike(seen, "fast with").tolist() == [False, False, True, False, False, False]
    assert q2.diverged(seen, "fast with").tolist() == [False] * 5 + [True]


def test_without_dropout_the_training_loss_is_that_of_the_epoch_and_with_it_that_without_noise():
    """A snapshot after the small last batch of an epoch is no fit: the network without dropout seemed to fit worse."""
    rows = [
        {"arm": arm, "seed": seed, "status": "finished", "running_loss_late": 0.14, "train_loss_late": 0.17}
        for arm in q2.ARMS
        for seed in range(3)
    ]
    np.testing.assert_allclose(q2.fits_better(Observations({"runs": pd.DataFrame(rows)})), 0.03)


def test_what_is_said_of_few_images_is_paired_by_seed_where_one_number_of_epochs_has_more_of_them():
    loss = {10: 0.7, 40: 0.6, 80: 0.8}
    rows = [
        {"kind": "", "epochs": epochs, "arm": arm, "seed": seed, "train_loss": 0.1, "test_accuracy": 0.8,
         "test_loss": loss[epochs] + 0.01 * seed + 0.05 * (arm == "without")}
        for epochs, seeds in ((10, 3), (40, 3), (80, 5))
        for arm in q2.ARMS
        for seed in range(seeds)
    ]  # fmt: skip
    rows[-1] |= {"test_loss": None}  # it diverged, and guesses
    seen = Observations({"few": pd.DataFrame(rows)})
    np.testing.assert_allclose(q2.loss_growth(seen, "with"), [0.2] * 3)
    np.testing.assert_allclose(q2.gap_growth(seen), [0.1] * 3)
    np.testing.assert_allclose(q2.saved(seen, "test_loss"), [0.05] * 4 + [np.log(10) - 0.84])


def test_the_largest_eigenvalue_is_that_of_the_hessian_written_out():
    layers = tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in a_network((5, 3)))
    x, y = torch.from_numpy(Stream(9, "data").normal((20, 4))).float(), torch.arange(20) % 3
    flat = torch.cat([torch.from_numpy(part).reshape(-1) for pair in layers for part in pair]).double()

    def loss(parameters: torch.Tensor) -> torch.Tensor:
        h, place = x.double(), 0
        for index, (weight, bias) in enumerate(layers):
            w, b = parameters[place:][: weight.size], parameters[place + weight.size :][: bias.size]
            place += weight.size + bias.size
            h = h @ w.view(weight.shape).T + b
            h = h.relu() if index < len(layers) - 1 else h
        return torch.nn.functional.cross_entropy(h, y)

    matrix = torch.autograd.functional.hessian(loss, flat)
    assert isinstance(matrix, torch.Tensor)
    expected = float(torch.linalg.eigvalsh(matrix)[-1])
    assert q2.largest_eigenvalue(layers, x, y) == pytest.approx(expected, rel=1e-2)


def test_what_is_said_of_all_images_is_paired_by_seed_and_counts_a_run_that_diverged_as_one_that_guesses():
    loss = {
        ("short", "with"): 0.5,
        ("short", "without"): 0.4,
        ("long", "with"): 0.31,
        ("long", "without"): 0.33,
    }
    rows = [
        {"horizon": horizon, "arm": arm, "seed": seed, "train_loss": value / 2, "test_loss": value + seed,
         "test_accuracy": 1 - value}
        for (horizon, arm), value in loss.items()
        for seed in (1, 0)
    ]  # fmt: skip
    np.testing.assert_allclose(
        q2.full_saved(Observations({"full": pd.DataFrame(rows)}), "test_loss"), [0.02] * 2
    )
    np.testing.assert_allclose(
        q2.full_saved(Observations({"full": pd.DataFrame(rows)}), "test_accuracy"), [0.02] * 2
    )
    np.testing.assert_allclose(q2.full_gap_growth(Observations({"full": pd.DataFrame(rows)})), [-0.035] * 2)
    rows[-1] |= {"test_loss": None}  # the long run without dropout of seed 0
    found = q2.full_saved(Observations({"full": pd.DataFrame(rows)}), "test_loss")
    np.testing.assert_allclose(found, [np.log(10) - 0.31, 0.02])


# 4.6.3


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_the_variance_after_the_mask_is_that_of_many_masks(p):
    h = torch.rand(200, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kept = torch.rand(400, 200, 50, generator=torch.Generator().manual_seed(1)) >= p
    seen = (h * kept / (1 - p)).var((1, 2), correction=0)
    error = seen.std().item() / 20
    expected = q3.variance_after(p, h.var(correction=0), h.mean())
    assert seen.mean().item() == pytest.approx(expected.item(), abs=4 * error)


@pytest.mark.parametrize(
    ("shifts", "verdict"), [((0.3, 0.3), "holds"), ((0.3, -0.3), "fails"), ((0.3, 0.0), "undecided")]
)
def test_a_claim_on_every_layer_fails_if_one_layer_does(shifts, verdict):
    noise = 0.05 * Stream(0, "data").normal((2, 10))
    noise -= noise.mean(1, keepdims=True)
    assert (
        q3.in_every_layer("greater")([row + shift for row, shift in zip(noise, shifts, strict=True)]).verdict
        == verdict
    )


def test_no_interval_of_a_variance_goes_below_zero():
    """One network of eight has a variance that is 100 times as large: the t interval of the values themselves ends
    below 0."""
    values = np.array([0.15] * 7 + [15.0])
    assert (mean_interval(values).ci_low or 0.0) < 0
    found = q3.geometric(np.log(values))
    assert 0 < found.ci_low < 0.15 < found.estimate < found.ci_high


def test_the_first_updates_are_those_of_the_engine():
    """What is measured in plain loops before an epoch's end and what the engine measures at its end are one curve."""
    dataset = ours().exercise("4.6.3").module.chapter.few_images(data.load("mnist-5k"))(0)
    base = turn(q3.chapter.DROPOUT_SETTING, hidden_sizes=(8, 8), batch_size=60, learning_rate=0.1, epochs=1)
    base = turn(base, probes=("activations", "quiet_activations"))
    (run,) = Study([Arm("falling with", base)], 1, dataset).runs
    (result,) = (end for end in engine.train([run], dataset) if isinstance(end, engine.Result))
    steps = dict(q3.at_steps(run, dataset, steps=range(6)))
    assert len(steps) == 5  # updates of the epoch
    assert steps[4]["noisy_variance_1"] == pytest.approx(result.curves["noisy_variance_1"][0], rel=1e-4)


# 4.6.4


def a_network(sizes=(5, 3), inputs=4, classes=3):
    widths = [inputs, *sizes, classes]
    return tuple(
        (Stream(layer, "init").normal((b, a)), Stream(layer, "init", layer=1).normal(b))
        for layer, (a, b) in enumerate(itertools.pairwise(widths))
    )


def test_masks_are_all_there_and_their_probabilities_add_up():
    masks = list(q4.all_masks([3, 2], 0.3))
    assert len({tuple(np.concatenate(mask)) for _, mask in masks}) == len(masks) == 32
    assert sum(share for share, _ in masks) == pytest.approx(1)
    assert next(share for share, mask in masks if np.concatenate(mask).all()) == pytest.approx(0.7**5)


def test_the_mean_over_all_masks_is_that_of_many_random_ones():
    """PyTorch's dropout on the same weights, 40,000 masks."""
    layers, rate = a_network(), 0.3
    x = Stream(9, "data").normal((6, 4))
    row, _ = q4.through_all_masks(layers, x, np.zeros(6, dtype=int), rate, seed=0)
    generator, correct = torch.Generator().manual_seed(0), []
    h = torch.from_numpy(np.tile(x, (40_000, 1, 1)))
    for weight, bias in layers[:-1]:
        h = torch.relu(h @ torch.from_numpy(weight).T + torch.from_numpy(bias))
        h = h * (torch.rand(h.shape, generator=generator) >= rate) / (1 - rate)
    outputs = h @ torch.from_numpy(layers[-1][0]).T + torch.from_numpy(layers[-1][1])
    correct = (outputs.argmax(2) == 0).double().mean(1)
    assert row["mask_accuracy"] == pytest.approx(correct.mean().item(), abs=4 * correct.std().item() / 200)
    exact = (torch.softmax(outputs, 2).mean(0).argmax(1) == 0).double().mean().item()
    assert row["exact_accuracy"] == exact
    assert row["total_share"] == pytest.approx(1)


def test_one_pass_is_the_geometric_mean_for_one_hidden_layer_only():
    x = Stream(9, "data").normal((6, 4))
    for sizes, is_exact in (((6,), True), ((4, 3), False)):
        row, _ = q4.through_all_masks(a_network(sizes), x, np.zeros(6, dtype=int), 0.4, seed=0)
        assert (row["off_geometric"] < 1e-12) == is_exact


def test_masks_that_are_drawn_say_what_all_masks_say():
    layers, rates = a_network((5, 3)), [0.3, 0.3]
    x, y = Stream(9, "data").normal((6, 4)), np.arange(6) % 3
    row, of_means, hits = q4.through_drawn_masks(layers, x, y, rates, seed=0, num_masks=256)
    exact, _ = q4.through_all_masks(layers, x, y, 0.3, seed=0)
    assert row["scaling_accuracy"] == exact["scaling_accuracy"] == hits["scaling"].mean()
    assert row["mask_accuracy"] == pytest.approx(exact["mask_accuracy"], abs=0.06) == hits["mask"].mean()
    assert [point["num_masks"] for point in of_means] == [2**power for power in range(9)]
    losses = [point["loss"] for point in of_means]
    assert losses == sorted(losses, reverse=True)  # a mean of more masks has a lower loss (Jensen)
    assert row["mean_loss"] == losses[-1]


def test_an_area_is_the_share_of_pairs_in_which_the_error_has_more():
    signal = np.array([0.1, 0.4, 0.4, 0.8, 0.2])
    is_error = np.array([False, True, False, True, False])
    pairs = [
        (a > b) + (a == b) / 2
        for a, b in itertools.product(signal[is_error].tolist(), signal[~is_error].tolist())
    ]
    assert q4.area(signal, is_error) == pytest.approx(np.mean(pairs))


def test_scores_of_a_forecast_that_is_right_as_often_as_it_says():
    p = np.array([[0.75, 0.25]] * 4)
    found = q4.scores(p, np.array([0, 0, 0, 1]))
    assert found["accuracy"] == 0.75
    assert found["calibration"] == pytest.approx(0)
    assert found["brier"] == pytest.approx(2 * 0.75 * 0.25)
    assert q4.scores(np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1]))["calibration"] == pytest.approx(0.25)


# 4.6.5


def test_the_interaction_is_what_is_left_of_both():
    values = {"neither": 0.80, "dropout": 0.70, "decay": 0.65, "both": 0.60}
    rows = [
        {"arm": arm, "seed": seed, "status": "finished", q5.METRIC: value + seed / 100}
        for arm, value in values.items()
        for seed in range(3)
    ]
    seen = Observations({"runs": pd.DataFrame(rows)})
    np.testing.assert_allclose(q5.interaction(seen), -0.05)


def losses_of(loss, asked: list):
    """Of strengths, by `loss(*strengths)`; notes what was asked for."""

    def losses(places):
        asked.extend(places)
        return [loss(*place) for place in places]

    return losses


@pytest.mark.parametrize("best", [(1, 1), (3, 2), (5, 0), (0, 4)])
def test_a_search_ends_where_all_neighbours_are_worse_and_tries_nothing_twice(best):
    ladders = [tuple(range(6)), tuple(range(5))]
    asked = []
    found, tried = choice.settled(
        ladders, (2, 2), losses_of(lambda a, b: (a - best[0]) ** 2 + (b - best[1]) ** 2, asked)
    )
    assert found == best
    assert sorted(asked) == sorted(set(asked)) == sorted(tried)
    around = {(best[0] + i, best[1] + j) for i, j in ((1, 0), (-1, 0), (0, 1), (0, -1))}
    assert around & set(itertools.product(*ladders)) <= set(tried)


def test_strengths_that_break_training_are_passed_over():
    found, tried = choice.settled(
        [tuple(range(6))], (3,), losses_of(lambda a: float("nan") if a > 2 else -a, [])
    )
    assert found == (2,)
    assert tried[3,] == float("inf")


def test_searches_can_be_equally_thorough_and_end_where_they_would():
    """One that settles after five places goes on nearby; what is known is not tried again."""
    ladders = [tuple(range(6)), tuple(range(6))]
    asked = []
    known = {(2, 2): 0.5, (5, 5): 9.0}
    loss = losses_of(lambda a, b: (a - 2) ** 2 + (b - 2) ** 2 + 0.5, asked)
    found, tried = choice.settled(ladders, (2, 2), loss, known=known, at_least=10)
    assert found == (2, 2)
    assert len(tried) == 10
    assert sorted(asked) == sorted(set(tried) - set(known))
    assert max(abs(a - 2) + abs(b - 2) for a, b in asked) == 2
    everywhere, _ = choice.settled(ladders, (0, 0), loss, at_least=100)
    assert everywhere == (2, 2)


def test_a_search_goes_on_from_a_better_place_that_thoroughness_finds():
    """A valley apart from the best so far: its neighbours are tried, too."""
    depth = {(0,): 1.0, (3,): 0.5, (4,): 0.0}
    found, tried = choice.settled(
        [tuple(range(6))], (0,), losses_of(lambda a: depth.get((a,), 2.0), []), at_least=4
    )
    assert found == (4,)
    assert len(tried) == 6


# 4.6.7


def strengths(arm) -> list[float]:
    return [strength for noise in arm.setting.noises for _, strength in noise.options]


class Tuning:
    """A laboratory in which the validation loss of a setting is known beforehand; it counts what is asked for."""

    def __init__(self, loss):
        self.loss, self.asked = loss, []

    def choose(self, *, quick, full):
        return full

    def run(self, study):
        self.asked += [arm.setting for arm in study.arms]
        rows = [
            {"arm": arm.name, "seed": seed, "validation_loss": self.loss(strengths(arm))}
            for arm in study.arms
            for seed in study.seeds
        ]
        return SimpleNamespace(frame=pd.DataFrame(rows))


def test_dropout_is_tuned_as_carefully_as_its_rivals_and_each_layer_for_itself():
    base = q7.chapter.few_images_setting(data.load("digits"), epochs=1)
    best = {"rate": (0.65, 0.2), "scale": (0.2, 0.8), "std": (0.2, 0.8)}
    for wanted in set(best.values()):
        lab = Tuning(lambda given, wanted=wanted: math.dist(np.log(given), np.log(wanted)))
        problem = q7.chapter.few_images(data.load("digits"))
        searches = q7.searched(lab, base, problem, range(1))
        assert set(searches) == set(q7.FEW_TECHNIQUES)
        assert len({len(tried) for _, tried in searches.values()}) == 1
        for kind, (chosen, _) in searches.items():
            if best[q7.TECHNIQUES[kind][0]] == wanted:
                assert chosen == wanted, kind


def test_no_technique_beats_dropout_where_none_does():
    """20 worlds in which seven arms do not differ: a false winner is found in at most 2 (each world: 2.5 per cent)."""
    false = 0
    for world in range(20):
        values = {
            kind: 0.88 + 0.003 * Stream(world, "data", layer=layer).normal(20)
            for layer, kind in enumerate(q7.TECHNIQUES)
        }
        false += any(
            beats(kind, "dropout", margin=q7.MARGIN)(values).verdict == "holds" for kind in q7.RIVALS
        )
    assert false <= 2


def test_a_technique_that_is_better_is_found():
    values = {
        kind: 0.88 + 0.003 * Stream(0, "data", layer=layer).normal(20) + 0.01 * (kind == "shot_noise")
        for layer, kind in enumerate(q7.TECHNIQUES)
    }
    assert beats("shot_noise", "dropout", margin=q7.MARGIN)(values).verdict == "holds"
    assert beats("dropconnect", "dropout", margin=q7.MARGIN)(values).verdict != "holds"
