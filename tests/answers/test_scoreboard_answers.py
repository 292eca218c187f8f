"""The answers that are scored on sealed prices open them once, when everything is made; and what they are scored by."""

from __future__ import annotations

import numpy as np
import pytest

from mlplab.answers import Lab, ours
from mlplab.data import Board, drawn_houses
from mlplab.rng import Stream
from mlplab.study import Store

h = ours().module("houses")


@pytest.mark.slow
@pytest.mark.parametrize("number", ["4.10.1", "4.10.2", "4.10.4", "4.10.5"])
def test_sealed_prices_are_opened_once_and_nothing_is_trained_after(number, monkeypatch, tmp_path) -> None:
    real, opened = drawn_houses.sealed_log_prices(), []
    with Store(tmp_path / "runs.sqlite") as store:

        def sealed() -> np.ndarray:
            opened.append(store.count())
            return real

        monkeypatch.setattr(drawn_houses, "sealed_log_prices", sealed)
        lab = Lab("quick", seeds=2, knobs={"epochs": "2"}, store=store)
        observations = ours().exercise(number).written_answer().observe(lab)
        assert opened == [store.count()]
    assert len(observations["board"]) >= 4


ROW = {"estimate": 0.01, "ci_low": 0.002, "ci_high": 0.03, "ci_prob": 0.99, "p": 0.001}
GAPS = {
    "decided": (ROW, "holds"),
    "undecided": (ROW | {"ci_low": -0.02}, "undecided"),
    "none at all": (ROW | {"estimate": 0.0, "ci_low": -0.001, "ci_high": 0.001}, "undecided"),
    "of an arm beside itself": (ROW | {"estimate": 0.0, "ci_low": 0.0, "ci_high": 0.0}, "fails"),
    "worse": (ROW | {"estimate": -0.01, "ci_low": -0.03, "ci_high": -0.002}, "fails"),
}


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_is_decided_by_its_interval_alone_and_the_wrong_way_round_it_fails(name: str) -> None:
    row, verdict = GAPS[name]
    assert h.scores_lower(row).verdict == verdict
    assert h.scores_lower(h.exchanged(row)).verdict == "fails"
    assert h.scores_alike(h.ALIKE)(h.too_large(row)).verdict == "fails"


def test_two_arms_are_alike_only_where_the_whole_interval_says_so() -> None:
    near = ROW | {"estimate": 0.001, "ci_low": -0.002, "ci_high": 0.003}
    assert h.scores_alike(0.005)(near).verdict == "holds"
    assert h.scores_alike(0.0025)(near).verdict == "undecided"
    assert h.scores_alike(0.001)(ROW).verdict == "fails"


def test_the_gaps_of_a_page_are_one_family() -> None:
    """Holm: what is decided leaves its share of alpha to what is not, and all intervals say so."""
    noise = np.sort(Stream(3, "data").normal(10_000))
    scores = {"base": 0.0, "near": 2.15, "far": 9.0, "same": 0.0}  # in standard errors; 2.15: p is .032
    resampled = {arm: value + noise * (arm != "base") for arm, value in scores.items()}
    board = Board("n", "t", "s", "f", 9, scores, scores, scores, resampled, resampled)
    near, far = h.Pair("near", "base"), h.Pair("far", "base")
    alike = h.Pair("same", "base", h.scores_alike(4.0), of_means=True)

    def levels(pairs: dict[str, h.Pair], others: tuple[float, ...] = ()) -> list[float]:
        return [round(1 - row["ci_prob"], 6) for row in h.gap_rows(board, pairs, others)]

    assert levels({"near": near}) == [0.05]
    assert levels({"far": far, "alike": alike, "near": near}) == [
        0.05,
        0.05,
        0.05,
    ]  # a third of it is too little
    assert levels({"far": far, "near": near}, others=(1.0,) * 3) == [0.0125, 0.0125]  # 3 are open, too
    assert levels({"far": far, "near": near}, others=(0.001, 0.02)) == [0.05, 0.05]
    assert [row["ci_low"] > 0 for row in h.gap_rows(board, {"far": far, "near": near}, [1.0] * 3)] == [
        True,
        False,
    ]


def test_the_expected_score_holds_what_other_houses_score() -> None:
    """Errors with heavy tails, 300 houses that promise and 300 others that are asked: 95% of the promises are kept."""
    draw = Stream(11, "data")
    tables = [draw.normal((2, 300)) / np.sqrt(draw.uniform((2, 300)) + 0.05) for _ in range(60)]
    promises = [h.expected_score(errors[0], 300, num_resamples=200) for errors in tables]
    asked = [float(np.sqrt(np.mean(errors[1] ** 2))) for errors in tables]
    kept = [one.ci_low <= score <= one.ci_high for one, score in zip(promises, asked, strict=True)]
    assert np.mean(kept) >= 0.87  # 0.95, and three standard errors of 0.028
    # The luck of those asked is nearly gone, that of the estimate is not.
    promise, narrow = promises[-1], h.expected_score(tables[-1][0], 10_000, num_resamples=200)
    assert narrow.ci_high - narrow.ci_low > 0.5 * (promise.ci_high - promise.ci_low)


def test_the_logarithms_of_areas_are_columns_of_both_parts() -> None:
    houses = h.load(Lab("quick"))
    wide = h.with_areas(houses)
    new = set(wide.columns.numeric) - set(houses.columns.numeric)
    assert {"area", "log area", "log GrLivArea", "log TotalBsmtSF"} <= new
    assert new <= set(wide.table) & set(wide.unlabelled)
    np.testing.assert_allclose(wide.table["log LotArea"], np.log1p(houses.table["LotArea"]))
    assert list(houses.table) == [name for name in wide.table if name not in new]


def test_the_sections_preparation_sees_all_houses_and_no_price() -> None:
    houses = h.load(Lab("quick"))
    fold = h.section_fold(houses, 1)
    spoilt = houses.table.assign(SalePrice=1.0)
    other = h.section_fold(h.Houses(houses.name, houses.columns, spoilt, houses.unlabelled), 1)
    np.testing.assert_array_equal(fold.train_x, other.train_x)
    everyone = np.concatenate([fold.train_x, fold.held_x])
    assert np.abs(everyone[:, 0].mean()) > 1e-12  # not these houses' own mean


def test_each_kind_is_submitted_as_validation_chose_it() -> None:
    evidence = ours().exercise("4.10.5").evidence_file.read_text("utf-8")
    assert f'["trees", "{h.SUBMITTED_TREES[0]} trees, depth={h.SUBMITTED_TREES[1]}"]' in evidence
    (units,) = h.MLP_SETTING.model.hidden_sizes
    assert f'["networks", "hidden_sizes={units} weight_decay=0.01 dropout=0"]' in evidence
