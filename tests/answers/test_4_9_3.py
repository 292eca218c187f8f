"""4.9.3: what is weighed has the ratio that it is said to have."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab.answers import Lab, ours
from mlplab.data import load

corrector = ours().exercise("4.9.3").module
shift = ours().module("known_shift")
Z = np.random.default_rng(0).normal(size=40_000)


@pytest.fixture(scope="module")
def one():
    """A draw of many rows."""
    return shift.draw(Z, 1.0, 3)


def test_a_row_has_one_part_in_a_draw(one):
    everyone = np.concatenate([one.source, one.target, one.judges])
    assert len(np.unique(everyone)) == len(everyone)


def test_weighted_source_rows_and_judges_have_the_mean_of_the_target(one):
    target = Z[one.target].mean()
    error = Z[one.target].std() / len(one.target) ** 0.5
    assert Z[one.source].mean() < target - 20 * error  # or nothing would have to be weighed
    weights = one.weights("true")
    # A weighted mean varies as one of so many rows: with the target's own error, five of both together.
    spread = 5 * (error + 1 / weights.effective_sample_size**0.5)
    assert weights.weights @ Z[one.source] / len(one.source) == pytest.approx(target, abs=spread)
    assert one.risk(Z[one.judges]) == pytest.approx(target, abs=spread)


def test_weights_are_cut_at_their_cap_and_worth_more_rows(one):
    true, cut = one.weights("true"), one.weights("clipped")
    assert cut.weights.max() / cut.weights.min() < true.weights.max() / true.weights.min()
    assert cut.effective_sample_size > 1.2 * true.effective_sample_size
    assert cut.num_clipped > 0


def test_a_factor_before_the_loss_is_a_weight_of_every_row():
    images = shift.ShiftedImages(load("digits"), most=50)
    plain, cut = (images.unscaled(25.0, weighted=weighted)(0).train.weights for weighted in (False, True))
    assert plain is not None
    assert cut is not None
    assert set(plain) == {25.0}
    assert 0 < cut.min() < cut.max() <= 25.0
    assert cut.mean() < 25.0


def test_a_cap_that_no_weight_reaches_changes_nothing():
    rows = {row["cap"]: row["excess"] for row in corrector.cut_fits(corrector.SHIMODAIRA, corrector.LINE, 0)}
    assert rows["16"] == rows[corrector.UNCUT] != rows["0.5"]


def test_houses_of_the_source_are_older():
    problem = shift.ShiftedHouses(ours().module("houses").load(Lab("quick")).table)
    one = problem.draw(0)
    year = problem.x[:, shift.YEAR]
    assert year[one.source].mean() < year[one.target].mean() - 10
