"""4.6.1 decides right where the truth is known: runs are made up, not trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import Lab, Observations, ours
from mlplab.rng import Stream
from mlplab.study import Store

q = ours().exercise("4.6.1").module

SEED_STD = 0.004  # what a seed alone moves; both arms of a pair share it
NOISE_STD = 0.001  # what is left of it in a difference


def observations(swap: float, dropout: float, *, seeds: int = 30, given=(0.2, 0.5)) -> Observations:
    """Runs whose true effects are `swap` (swapped minus given) and `dropout` (given minus none)."""
    pairs = {"given": given, "swapped": given[::-1], "none": (0.0, 0.0)}
    truth = {"given": 0.87, "swapped": 0.87 + swap, "none": 0.87 - dropout}
    shared = SEED_STD * Stream(1, "data").normal(seeds)
    rows = []
    for layer, role in enumerate(pairs, start=1):
        own = NOISE_STD / np.sqrt(2) * Stream(1, "data", layer=layer).normal(seeds)
        for seed in range(seeds):
            accuracy = truth[role] + shared[seed] + own[seed]
            row = {"arm": role, "dropout": str(pairs[role]), "seed": seed, "status": "finished"}
            rows.append(row | {"test_accuracy": accuracy, "validation_accuracy": accuracy, q.LATE: accuracy})
    described = [
        {"arm": role, "first": pair[0], "second": pair[1], "role": role} for role, pair in pairs.items()
    ]
    setting = {"hidden_sizes": "256,256", "epochs": "10"}
    return Observations({"runs": pd.DataFrame(rows), "pairs": pd.DataFrame(described)}, settings=(setting,))


def verdicts(seen: Observations) -> dict[str, str]:
    return {name: finding.verdict for name, finding in q.ANSWER.findings(seen).items()}


@pytest.mark.parametrize(
    ("swap", "dropout", "expected"),
    [
        (0.0, 0.01, ("holds", "fails", "holds")),  # no difference that matters; dropout helps
        (0.01, 0.01, ("fails", "holds", "holds")),  # the larger rate first is better
        (-0.01, 0.01, ("fails", "fails", "holds")),
        (0.0, -0.01, ("holds", "fails", "fails")),  # dropout harms
        (0.0015, 0.0, ("holds", "holds", "fails")),  # a real effect that is too small to matter
    ],
)
def test_claims_find_the_truth(swap, dropout, expected):
    # What is averaged over late epochs equals the rest here: its claim comes last, and goes with the first.
    assert tuple(verdicts(observations(swap, dropout)).values()) == (*expected, expected[0])


def test_the_larger_rate_first_is_what_counts_whichever_pair_was_given():
    """Given (0.5, 0.2), the swap puts the larger rate second: the sign turns round."""
    assert verdicts(observations(-0.01, 0.0, given=(0.5, 0.2)))["larger-rate-first-is-better"] == "holds"
    assert verdicts(observations(0.01, 0.0, given=(0.5, 0.2)))["larger-rate-first-is-better"] == "fails"


def test_one_seed_decides_nothing():
    seen = observations(0.01, 0.01, seeds=1)
    assert set(verdicts(seen).values()) == {"undecided"}
    assert q.facts(seen)["seed_std"] is None


def test_effects_are_paired_by_seed():
    """What a seed moves in both arms is not in their difference."""
    assert q.swap_effect(observations(0.0, 0.0)).std(ddof=1) < NOISE_STD * 1.5


@pytest.mark.parametrize("swap", [0.0, 0.01, -0.01])
def test_law_3_falsehoods_are_rejected_whatever_the_truth(swap):
    seen = observations(swap, swap)
    assert {claim.control(seen).verdict for claim in q.ANSWER.claims} == {"fails"}


def test_the_best_pair_is_the_one_that_validation_data_prefer():
    seen = observations(0.01, 0.02)
    runs = seen["runs"]
    runs.loc[runs["arm"] == "none", "validation_accuracy"] = 0.99  # and the lowest test accuracy
    assert q.facts(Observations({**seen.tables, "runs": runs}, settings=seen.settings))["best_pair"] == "0,0"


def test_late_accuracy_is_the_mean_over_the_second_half_of_the_epochs():
    points = [("a", 0, epoch, "validation_accuracy", epoch / 10) for epoch in range(1, 6)]
    points += [
        ("a", 1, 1, "validation_accuracy", 0.9),
        ("a", 0, 5, "test_accuracy", 0.0),
    ]  # seed 1 diverged early
    late = q.late_accuracies(pd.DataFrame(points, columns=["arm", "seed", "epoch", "metric", "value"]))
    assert late.to_dict("records") == [{"arm": "a", "seed": 0, q.LATE: pytest.approx((0.3 + 0.4 + 0.5) / 3)}]


def test_law_5_a_run_that_diverges_stays_in_the_table(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        knobs = {"hidden_sizes": "4,4", "epochs": "1", "learning_rate": "1e38"}
        seen = q.observe(Lab("quick", seeds=2, knobs=knobs, store=store))
    assert len(seen["runs"]) == 6
    assert "diverged" in set(seen["runs"]["status"])
