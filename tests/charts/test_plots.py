"""Laws of figures: they say what their intervals are, hold little data, leave the page its style, and can be drawn."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest

from mlplab.answers import ours
from mlplab.charts.plots import (
    CURVE_POINTS,
    curve_plot,
    difference_plot,
    grid_plot,
    interval_plot,
    mean_curves,
)
from mlplab.errors import InvalidInput, MissingExtra
from mlplab.study import Results

NOTES = {language: ours().frame(language).group("charts") for language in ("en", "zh")}

pytest.importorskip("altair", reason="figures need altair")


def made_results(num_diverged: int = 0) -> Results:
    """Two factors, five seeds; of the last arm some diverged."""
    draws = np.random.Generator(np.random.Philox(key=3))
    rows = []
    for width in ("16", "64"):
        for rate in ("0", "0.5"):
            for seed in range(5):
                is_out = (width, rate) == ("64", "0.5") and seed < num_diverged
                rows.append(
                    {
                        "arm": f"hidden_sizes={width} dropout={rate}", "hidden_sizes": width, "dropout": rate,
                        "seed": seed, "status": "diverged" if is_out else "finished",
                        "test_loss": None if is_out else draws.normal(),
                    }
                )  # fmt: skip
    return Results.from_records(rows)


def made_curves(epochs: int, cut_at: int | None = None) -> pd.DataFrame:
    """Two arms, three seeds; one run ends at `cut_at`."""
    return pd.DataFrame(
        {"arm": arm, "seed": seed, "epoch": epoch, "metric": "running_loss", "value": 1 / epoch + seed}
        for arm in ("a", "b")
        for seed in range(3)
        for epoch in range(1, epochs + 1)
        if cut_at is None or (arm, seed) != ("b", 1) or epoch <= cut_at
    )


def drawn(kind: str, language: str = "en", num_diverged: int = 0):
    results = made_results(num_diverged)
    words = {"title": "标题" if language == "zh" else "Title", "notes": NOTES[language]}
    match kind:
        case "interval":
            return interval_plot(results.summary("test_loss"), value_title="Test loss (nats)", **words)
        case "difference":
            found = results.compare("test_loss", results.arms[0], margin=0.25, arms=results.arms[1:3])
            return difference_plot(found, value_title="Difference (nats)", **words)
        case "curve":
            return curve_plot(
                made_curves(9), "running_loss", value_title="Loss", epoch_title="Epoch", **words
            )
        case "grid":
            return grid_plot(
                results.summary("test_loss"), "hidden_sizes", "dropout", value_title="Loss", **words
            )
    raise AssertionError(kind)


KINDS = ("interval", "difference", "curve", "grid")


def subtitle(chart) -> list[str]:
    spec = chart.to_dict()
    titles = [spec.get("title")] + [layer.get("title") for layer in spec.get("layer", [])]
    return next(title["subtitle"] for title in titles if title)


def held(chart) -> list[dict]:
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_figure_says_what_it_shows_and_leaves_the_page_its_style(kind, language):
    chart = drawn(kind, language)
    note = subtitle(chart)[0]
    assert "n = 3" in note if kind == "curve" else "n = 5" in note
    if kind in ("interval", "curve"):
        assert "95%" in note
        assert " t" in note
    if kind == "difference":
        assert "Holm" in note
        assert "0.25" in subtitle(chart)[1]
    assert "usermeta" not in chart.to_dict()
    # Altair's own theme apart, nothing is configured: configured charts cannot be put side by side.
    assert (chart | chart).to_dict()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_figure_can_be_drawn(kind, language, tmp_path):
    pytest.importorskip("vl_convert", reason="drawing needs vl-convert")
    chart = drawn(kind, language, num_diverged=2 if kind in ("interval", "grid") else 0)
    chart.save(tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert ("标题" if language == "zh" else "Title") in text
    assert "NaN" not in text


def test_an_arm_that_partly_diverged_is_marked():
    chart = drawn("interval", num_diverged=2)
    assert subtitle(chart) == [
        "Mean over seeds with 95% t interval, n = 3–5",
        "Open mark: mean of the runs that finished",
    ]
    assert [row["note"] for row in held(chart)] == ["", "", "", "2 of 5 diverged"]
    assert "2 of 5 diverged" in {row.get("note") for row in held(drawn("grid", num_diverged=2))}


def test_an_arm_that_diverged_whole_keeps_its_row():
    for kind in ("interval", "grid"):
        rows = [row for row in held(drawn(kind, num_diverged=5)) if row["note"]]
        assert [(row["estimate"], row["note"]) for row in rows] == [(None, "5 of 5 diverged")]


def test_a_long_training_makes_no_large_figure():
    epochs = 5000
    few, many = (
        curve_plot(made_curves(n), "running_loss", value_title="", epoch_title="")
        for n in (CURVE_POINTS, epochs)
    )
    assert len(held(many)) == len(held(few)) == 2 * CURVE_POINTS
    assert {row["epoch"] for row in held(many)} >= {1, epochs}
    assert len(json.dumps(many.to_dict())) < 100_000


def test_a_curve_ends_where_its_first_run_diverged_and_says_so():
    chart = curve_plot(made_curves(8, cut_at=5), "running_loss", value_title="", epoch_title="")
    last = {arm: max(row["epoch"] for row in held(chart) if row["label"] == arm) for arm in ("a", "b")}
    assert last == {"a": 8, "b": 5}
    assert subtitle(chart)[1] == "A curve ends where its first run diverged"
    assert {row["num_replicates"] for row in held(chart)} == {3}


@pytest.mark.parametrize("cut_at", [None, 5])
def test_mean_curves_from_evidence_draw_the_same_figure(cut_at):
    """Through JSON, where an interval without an end is null."""
    curves = made_curves(8, cut_at=cut_at)
    kept = pd.DataFrame(json.loads(json.dumps(mean_curves(curves).to_dict("records"))))
    assert len(kept) == 2 * 8 - (3 if cut_at else 0)
    direct, again = (
        curve_plot(table, "running_loss", value_title="", epoch_title="") for table in (curves, kept)
    )
    assert direct.to_dict() == again.to_dict()


def test_comparisons_from_evidence_draw_the_same_figure():
    results = made_results()
    found = results.compare("test_loss", results.arms[0], margin=0.25)
    stored = {arm: json.loads(json.dumps(comparison.to_dict())) for arm, comparison in found.items()}
    assert (
        difference_plot(found, value_title="x").to_dict()
        == difference_plot(stored, value_title="x").to_dict()
    )


def test_labels_take_the_place_of_names():
    results = made_results()
    chart = interval_plot(results.summary("test_loss"), value_title="x", labels={results.arms[0]: "小"})
    assert [row["label"] for row in held(chart)] == ["小", *results.arms[1:]]


def test_impossible_figures_get_one_line():
    summary = made_results().summary("test_loss")
    with pytest.raises(InvalidInput, match="a column for each of its factors; got 'depth'"):
        grid_plot(summary, "hidden_sizes", "depth", value_title="")
    with pytest.raises(InvalidInput, match="one arm in each cell"):
        grid_plot(summary.assign(dropout="0"), "hidden_sizes", "dropout", value_title="")
    with pytest.raises(InvalidInput, match="must be one of the curves; got 'loss'"):
        curve_plot(made_curves(3), "loss", value_title="", epoch_title="")


def test_without_altair_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingExtra, match=r"A figure needs .*pip install 'mlplab\[book\]'"):
        interval_plot(made_results().summary("test_loss"), value_title="")
