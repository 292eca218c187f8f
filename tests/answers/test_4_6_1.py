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


def observations(
    swap: float = 0.0,
    dropout: float = 0.01,
    *,
    saved: float = 0.0,
    gap: float = 0.5,
    seeds: int = 30,
    given=(0.2, 0.5),
    nudge: float | None = None,
) -> Observations:
    """Runs whose true effects are on all images `swap` (swapped minus given) and `dropout` (given minus none),
    and on few images `saved` (test loss of given minus that of swapped), where the loss without exceeds the training
    loss by `gap`."""
    pairs = {"given": given, "swapped": given[::-1], "none": (0.0, 0.0)}
    accuracy = {"given": 0.87, "swapped": 0.87 + swap, "none": 0.87 - dropout}
    loss = {"given": 0.6, "swapped": 0.6 - saved, "none": 0.7}
    shared = SEED_STD * Stream(1, "data").normal(seeds)
    rows = []
    for layer, (role, pair) in enumerate(pairs.items(), start=1):
        own = NOISE_STD / np.sqrt(2) * Stream(1, "data", layer=layer).normal(seeds)
        for seed in range(seeds):
            moved = shared[seed] + own[seed]
            for regime in (q.SECTION, q.FALLING, q.FEW):
                row = {"arm": q.arm_name(regime, pair), "seed": seed, "status": "finished"}
                row |= {q.METRIC: accuracy[role] + moved}
                row |= {"test_loss": loss[role] + moved, "train_loss": loss["none"] - gap}
                rows.append(row)
                if nudge is not None and seed < q.NUM_NUDGED:
                    name = f"{q.NUDGED} {row['arm']}"
                    luck = nudge if (regime, seed) == (q.SECTION, 1) else 0
                    rows.append(row | {"arm": name, q.METRIC: row[q.METRIC] + luck})
    described = [{"first": pair[0], "second": pair[1], "role": role} for role, pair in pairs.items()]
    sizes = [{"regime": regime, "train": 10, "test": 10} for regime in (q.SECTION, q.FEW)]
    tables = {"runs": rows, "pairs": described, "sizes": sizes}
    setting = {"hidden_sizes": "256,256", "epochs": "10"}
    return Observations(
        {name: pd.DataFrame(rows) for name, rows in tables.items()}, settings=(setting, setting)
    )


def verdicts(seen: Observations) -> dict[str, str]:
    return {name: finding.verdict for name, finding in q.ANSWER.findings(seen).items()}


@pytest.mark.parametrize(
    ("swap", "dropout", "expected"),
    [
        (-0.005, 0.01, ("holds", "holds")),
        (0.005, 0.01, ("fails", "holds")),
        (-0.005, -0.01, ("holds", "fails")),
        (-0.005, 0.0, ("holds", "fails")),
    ],
)
def test_what_is_claimed_of_training_on_all_images_is_the_truth(swap, dropout, expected):
    found = verdicts(observations(swap, dropout))
    assert (found["larger-rate-first-costs-on-all-images"], found["dropout-helps"]) == expected


@pytest.mark.parametrize(("saved", "expected"), [(0.05, "holds"), (0.0, "fails"), (-0.05, "fails")])
def test_the_larger_rate_first_is_judged_where_there_is_overfitting(saved, expected):
    assert verdicts(observations(saved=saved))["larger-rate-first-is-better"] == expected


def test_nothing_is_said_of_a_remedy_where_nothing_overfits():
    found = verdicts(observations(saved=0.05, gap=0.1))
    assert found["larger-rate-first-is-better"] == found["dropout-helps-on-few-images"] == "untestable"


def test_the_larger_rate_first_is_what_counts_whichever_pair_was_given():
    """Given (0.5, 0.2), the swap puts the larger rate second: the sign turns round."""
    found = {saved: verdicts(observations(saved=saved, given=(0.5, 0.2))) for saved in (-0.05, 0.05)}
    assert found[-0.05]["larger-rate-first-is-better"] == "holds"
    assert found[0.05]["larger-rate-first-is-better"] == "fails"


def test_one_seed_decides_nothing():
    assert set(verdicts(observations(0.01, 0.01, seeds=1)).values()) <= {"undecided", "untestable"}


def test_effects_are_paired_by_seed():
    """What a seed moves in both arms is not in their difference."""
    assert q.at_full_size(observations(), "swapped", "given").std(ddof=1) < NOISE_STD * 1.5
    assert q.loss_saved(observations(), "swapped", "given").std(ddof=1) < NOISE_STD * 1.5


@pytest.mark.parametrize("swap", [0.0, 0.01, -0.01])
def test_law_3_falsehoods_are_rejected_whatever_the_truth(swap):
    seen = observations(swap, swap)
    assert {claim.control(seen).verdict for claim in q.ANSWER.claims} == {"fails"}


def test_a_run_that_diverged_guesses():
    seen = observations()
    runs = seen["runs"].copy()
    is_lost = (runs["arm"] == q.arm_name(q.FALLING, (0.0, 0.0))) & (runs["seed"] == 0)
    runs.loc[is_lost, [q.METRIC, "test_loss"]] = np.nan
    lost = Observations({**seen.tables, "runs": runs}, settings=seen.settings)
    assert q.at_full_size(lost, "given", "none")[0] == pytest.approx(0.77, abs=0.02)
    assert np.isfinite(q.at_full_size(lost, "given", "none")).all()


def test_luck_is_what_a_millionth_of_the_first_weights_moves():
    luck = q.facts(observations(nudge=-0.02))["moved"]
    assert luck == {q.SECTION: pytest.approx(0.02), q.FALLING: 0, q.FEW: 0}
    assert set(q.facts(observations())["moved"].values()) == {None}


def test_law_5_a_run_that_diverges_stays_in_the_table(tmp_path):
    with Store(tmp_path / "runs.sqlite") as store:
        knobs = {"hidden_sizes": "4,4", "epochs": "1", "learning_rate": "1e38"}
        seen = q.observe(Lab("quick", seeds=2, knobs=knobs, store=store))
    assert len(seen["runs"]) == 3 * 3 * 2 + 3 * 3
    assert "diverged" in set(seen["runs"]["status"])
