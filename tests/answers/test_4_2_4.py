"""4.2.4 decides right where the truth is known: runs and a search are made up, not trained."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from mlplab.answers import Observations, ours
from mlplab.knobs import turn
from mlplab.rng import Stream
from mlplab.spec import Setting
from mlplab.study import Arm

q = ours().exercise("4.2.4").module
SETTING = {"units": "128-128", "rate": 0.2, "schedule": "cosine", "batch": "32", "start": "kaiming_normal"}


def world(gain: float, longer: float, further: float = 0.001, wear: float = 0.0) -> Observations:
    """Six seeds whose winner is ahead by `gain` and `longer`, and gains `further` with twice the epochs."""
    truth = {"winner": 0.89, "further": 0.89 + further, "section": 0.89 - gain, "longer": 0.89 - longer}
    rows = []
    for layer, (arm, accuracy) in enumerate(truth.items()):
        luck = 0.0005 * Stream(0, "data", layer=layer).normal(6)
        for seed, own in enumerate(luck):
            row = {"arm": arm, "seed": q.FINAL + seed, "status": "finished", "test_accuracy": accuracy + own}
            row |= {"validation_accuracy": accuracy + own + wear * (arm == "winner"), "train_accuracy": 0.95}
            loss = 4 * (1 - accuracy - own)
            rows.append(row | {"test_loss": loss, "validation_loss": loss})
    trials = [
        SETTING | {"epochs": epochs, "score": 0.8 + 0.01 * epochs, "won": place == 0}
        for epochs, number in ((1, 9), (3, 3))
        for place in range(number)
    ]
    arms = [{"arm": arm, "epochs": 12} | SETTING for arm in truth]
    return Observations(
        {
            "runs": pd.DataFrame(rows),
            "trials": pd.DataFrame(trials),
            "arms": pd.DataFrame(arms),
            "crossed": pd.DataFrame(columns=pd.Index(["over", "estimate", "ci_low", "ci_high"])),
        },
        settings=({},),
    )


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ((0.02, 0.01), "holds holds holds holds holds holds"),
        ((0.02, -0.001), "holds holds holds fails fails holds"),  # more epochs are all there is to it
        ((-0.02, -0.02), "holds holds fails fails fails holds"),
        ((0.02, 0.01, 0.006), "fails fails holds holds holds holds"),  # more epochs would still help
        ((0.02, 0.01, 0.011, 0.01), "fails holds holds holds holds fails"),  # worn-out images
    ],
)
def test_claims_find_the_truth(truth, expected):
    found = q.ANSWER.findings(world(*truth))
    of_a_manual = found.pop("the-winner-beats-the-manuals-best")
    assert [finding.verdict for finding in found.values()] == expected.split()
    assert of_a_manual.verdict in ("holds", "fails")


@pytest.mark.parametrize("gain", [-0.004, 0.0, 0.004])
def test_law_3_falsehoods_are_rejected_whatever_the_truth(gain):
    seen = world(gain, gain, gain)
    assert {claim.control(seen).verdict for claim in q.ANSWER.claims} == {"fails"}


def test_facts_are_those_of_the_search():
    facts = q.facts(world(0.02, 0.01))
    assert facts["rungs"] == [{"epochs": 1, "settings": 9}, {"epochs": 3, "settings": 3}]
    assert facts["spent"] == 18
    assert facts["test"]["winner"].estimate == pytest.approx(0.89, abs=0.001)


def test_of_settings_that_one_seed_cannot_tell_apart_the_smallest_wins():
    sizes = {(256, 256): 0.9000, (128,): 0.8980, (64,): 0.8960}
    arms = {size: Arm(str(size), turn(Setting(), hidden_sizes=size)) for size in sizes}
    bench = SimpleNamespace(
        trials=[SimpleNamespace(arm=arms[size], epochs=9, score=score) for size, score in sizes.items()]
        + [SimpleNamespace(arm=arms[64,], epochs=3, score=0.95)]  # not in the last round
    )
    dataset = SimpleNamespace(in_features=784, out_features=10)
    assert q.smallest_of_the_best(bench, dataset) is arms[128,]
