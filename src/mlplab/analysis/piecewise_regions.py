"""The linear regions of a network on a 2-D slice of its input space: polygons, affine maps, decision boundary.

Sources: Montúfar, Pascanu, Cho and Bengio 2014, On the number of linear regions of deep neural networks; Humayun,
Balestriero, Balakrishnan and Baraniuk 2023, SplineCam (exact slices).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import nn

from mlplab.analysis.piecewise_cells import Cells, TooManyCells
from mlplab.analysis.piecewise_function import plain
from mlplab.analysis.piecewise_layers import TOLERANCE, Program, as_numbers, read
from mlplab.analysis.piecewise_values import MAX_BYTES, gradients, most_points
from mlplab.errors import InvalidInput

if TYPE_CHECKING:
    import altair
    from jaxtyping import Int, Shaped
    from numpy.typing import ArrayLike

Extent = tuple[float, float, float, float]
MAX_REGIONS = 100_000
MAX_EXACT_UNITS = 64  # fractions grow with depth: beyond this a slice takes minutes


@dataclass(frozen=True, eq=False)
class LinearRegions:
    """Cells of x = origin + s * direction_x + t * direction_y, low_s <= s <= high_s, low_t <= t <= high_t.

    A cell is a set of points with one activation pattern: a convex polygon, on which outputs = maps[cell] @ (1, s, t).
    `polygons`: corners of each, (corner, 2), counted round. `region_of`: cells that touch along an edge and have
    the same map are one linear region, and have its number. `boundary`: segments (2, 2) of the decision boundary, where
    the largest output changes (of one output: where its sign does).
    """

    extent: Extent
    polygons: tuple[Shaped[np.ndarray, "corner 2"], ...]
    maps: Shaped[np.ndarray, "cell output 3"]
    region_of: Int[np.ndarray, "cell"]
    boundary: tuple[Shaped[np.ndarray, "2 2"], ...]
    exact: bool

    @property
    def num_patterns(self) -> int:
        """Activation patterns that occur with an area."""
        return len(self.polygons)

    @property
    def num_regions(self) -> int:
        """Maximal connected sets on which the network is one affine map."""
        return len(np.unique(self.region_of))

    @property
    def areas(self) -> Shaped[np.ndarray, "cell"]:
        """Area of each cell in units of s times t."""
        return np.array([_area(polygon) for polygon in self.polygons])

    def table(self) -> pd.DataFrame:
        """A row for each cell: region, corners, area, centre, and each output's affine map (constant, d/ds, d/dt)."""
        centres = [polygon.sum(axis=0) / len(polygon) for polygon in self.polygons]
        rows: dict[str, Any] = {
            "region": self.region_of,
            "corners": [len(polygon) for polygon in self.polygons],
            "area": self.areas,
            "centre_s": [centre[0] for centre in centres],
            "centre_t": [centre[1] for centre in centres],
        }
        for output in range(self.maps.shape[1]):
            suffix = f"_{output}" if self.maps.shape[1] > 1 else ""
            for column, name in enumerate(("constant", "d_ds", "d_dt")):
                rows[f"{name}{suffix}"] = self.maps[:, output, column]
        return pd.DataFrame(rows)

    def plot(self) -> altair.LayerChart:
        """The cells, shaded by region, and the decision boundary."""
        from mlplab.analysis.piecewise_figure import regions_figure

        return regions_figure(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; fractions as text, "1/3"."""
        return {
            "extent": list(self.extent),
            "num_patterns": self.num_patterns,
            "num_regions": self.num_regions,
            "polygons": [plain(polygon) for polygon in self.polygons],
            "maps": plain(self.maps),
            "region_of": self.region_of.tolist(),
            "boundary": [plain(segment) for segment in self.boundary],
        }


def linear_regions(
    net: nn.Module | Callable,
    origin: ArrayLike = (0.0, 0.0),
    direction_x: ArrayLike = (1.0, 0.0),
    direction_y: ArrayLike = (0.0, 1.0),
    *,
    extent: Extent = (-1.0, 1.0, -1.0, 1.0),
    exact: bool = False,
    max_regions: int = MAX_REGIONS,
) -> LinearRegions:
    """All linear regions of a network on a box of a plane through its input space.

    Arguments:
      net: as of `from_network`, with inputs of any size; the defaults are the plane of a network with two inputs.
      origin, direction_x, direction_y: one input each, of the shape that the network takes, without the batch.
      extent: (low_s, high_s, low_t, high_t), the box in units of the directions.
      exact: in fractions, for nets of up to MAX_EXACT_UNITS units.
      max_regions: the most activation patterns to look for. Fewer where their values would take more than
        `piecewise_values.MAX_BYTES`, which is known before the first is made.

    In floats, a corner within rounding of a unit's kink lies on it (`piecewise_layers.TOLERANCE`), so that lines
    through one point meet there. Raises InvalidInput for a network that is not piecewise linear, by its module; for
    directions that are parallel, not finite or of different shapes; for an empty box; for too many units in fractions;
    for more patterns than are allowed, before they are made.
    """
    vectors = [
        _vector(v, n)
        for v, n in ((origin, "origin"), (direction_x, "direction_x"), (direction_y, "direction_y"))
    ]
    if len({vector.shape for vector in vectors}) > 1:
        raise InvalidInput(
            "linear_regions", "needs vectors of one shape", [vector.shape for vector in vectors]
        )
    flat = [vector.reshape(-1) for vector in vectors]
    if np.linalg.matrix_rank(np.stack(flat[1:])) < 2:
        raise InvalidInput("linear_regions", "needs two directions that are not parallel", "parallel ones")
    low_s, high_s, low_t, high_t = extent
    if not (np.isfinite(extent).all() and low_s < high_s and low_t < high_t):
        raise InvalidInput("linear_regions.extent", "must be finite (low_s, high_s, low_t, high_t)", extent)
    program = read(net, vectors[0].shape, exact=exact, owner="linear_regions")
    units = sum(step.slopes.shape[1] for step in program.kinked())
    if exact and units > MAX_EXACT_UNITS:
        rule = f"in fractions takes at most {MAX_EXACT_UNITS} hidden units"
        raise InvalidInput("linear_regions", rule, units, "Leave exact out: float64 is right to 1e-12")
    rays = np.stack([as_numbers(vector, exact) for vector in flat], axis=1)[None]
    box = as_numbers([[low_s, low_t], [high_s, low_t], [high_s, high_t], [low_s, high_t]], exact)
    cells = _cells(program, rays, box, max_regions)
    maps, sizes = gradients(program, cells.gates, rays)
    maps = np.broadcast_to(maps, (len(cells.rings), *maps.shape[1:]))
    rounding = np.broadcast_to(program.tolerance * sizes, maps.shape)
    polygons = tuple(cells.places[ring[:size]] for ring, size in zip(cells.rings, cells.sizes, strict=True))
    return LinearRegions(
        extent,
        polygons,
        maps,
        _regions(polygons, maps, rounding, exact),
        tuple(_boundary(cells, maps)),
        exact,
    )


def _cells(program: Program, rays: np.ndarray, box: np.ndarray, max_regions: int) -> Cells:
    if isinstance(max_regions, bool) or not isinstance(max_regions, int) or max_regions < 1:
        raise InvalidInput("linear_regions.max_regions", "must be a whole number of at least 1", max_regions)
    room = most_points(program)  # a plane that lines cut has about as many corners as cells
    most = min(max_regions, room)
    try:
        return Cells(program, rays, box, most)
    except TooManyCells:
        hint = "Take a smaller extent (--reach)"
        if max_regions <= room:
            rule, hint = f"may find at most {most:,} regions", f"{hint}, or allow more (--max-regions)"
        else:
            rule = f"may take at most {MAX_BYTES / 2**30:g} GiB, which is {most:,} regions of this network"
        raise InvalidInput("linear_regions", rule, f"more than {most:,} regions", hint) from None


def _vector(value: Any, name: str) -> np.ndarray:
    try:
        vector = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"linear_regions.{name}", "must be an array of numbers", value) from error
    if vector.size < 2 or not np.isfinite(vector).all():
        raise InvalidInput(f"linear_regions.{name}", "must be finite numbers, two at least", value)
    return vector


def _area(polygon: Shaped[np.ndarray, "corner 2"]) -> Any:
    s, t = polygon[:, 0], polygon[:, 1]
    return abs((s * np.roll(t, -1) - t * np.roll(s, -1)).sum()) / 2


def _regions(
    polygons: tuple[np.ndarray, ...], maps: np.ndarray, rounding: np.ndarray, exact: bool
) -> Int[np.ndarray, "cell"]:
    """Cells that share an edge and a map, numbered together."""
    parent = np.arange(len(polygons))

    def root(cell: int) -> int:
        while parent[cell] != cell:
            parent[cell] = parent[parent[cell]]
            cell = parent[cell]
        return cell

    spread = max(float(np.abs(polygon.astype(np.float64)).max()) for polygon in polygons)
    edges: dict[Any, int] = {}
    for cell, polygon in enumerate(polygons):
        # The same corner, made on both sides of an edge, may differ by rounding.
        ends = list(map(tuple, polygon if exact else np.rint(polygon / (spread * 2.0**-32)).astype(np.int64)))
        for first, second in zip(ends, ends[1:] + ends[:1], strict=True):
            key = frozenset((first, second))
            other = edges.setdefault(key, cell)
            allowed = rounding[cell] + rounding[other]
            if other != cell and (np.abs(maps[cell] - maps[other]) <= allowed).all():
                parent[root(cell)] = root(other)
    roots = [root(cell) for cell in range(len(polygons))]
    return np.unique(roots, return_inverse=True)[1]


def _boundary(cells: Cells, maps: np.ndarray) -> Iterator[np.ndarray]:
    """Segments on which the two largest outputs are equal, a cell at a time; of one output, where it is 0."""
    single = maps.shape[1] == 1
    outputs = cells.outputs
    if single:
        outputs = np.concatenate([outputs, 0 * outputs], axis=1)
        maps = np.concatenate([maps, 0 * maps], axis=1)
    for cell, (ring, size) in enumerate(zip(cells.rings, cells.sizes, strict=True)):
        corners, values = cells.places[ring[:size]], outputs[ring[:size]]
        # Each output is affine here: one that is largest at all corners is largest everywhere.
        leads = values >= values.max(axis=1, keepdims=True)
        if leads.all(axis=0).any():
            continue
        candidates = np.flatnonzero(leads.any(axis=0))
        rivals = range(maps.shape[1])
        for index, i in enumerate(candidates):
            for j in rivals:
                if j == i or (j in candidates[:index]):
                    continue
                segment = _where_equal(corners, values[:, i] - values[:, j])
                if segment is None:
                    continue
                for other in rivals:
                    if other not in (i, j) and segment is not None:
                        segment = _clipped(segment, maps[cell, i] - maps[cell, other])
                if segment is not None:
                    yield segment


def _where_equal(corners: np.ndarray, gap: np.ndarray) -> np.ndarray | None:
    """The segment in a convex polygon on which an affine function with these corner values is 0."""
    points = [corners[k] for k in range(len(gap)) if gap[k] == 0]
    for k in range(len(gap)):
        after = (k + 1) % len(gap)
        if gap[k] * gap[after] < 0:
            share = gap[k] / (gap[k] - gap[after])
            points.append(corners[k] + share * (corners[after] - corners[k]))
    return np.stack(points[:2]) if len(points) >= 2 and (points[0] != points[1]).any() else None


def _clipped(segment: np.ndarray, row: np.ndarray) -> np.ndarray | None:
    """The part of a segment on which row @ (1, s, t) >= 0; None where there is none with a length."""
    values = row[0] + segment @ row[1:]
    slack = (
        0
        if segment.dtype == object
        else TOLERANCE * (np.abs(row[0]) + np.abs(segment) @ np.abs(row[1:])).max()
    )
    inside = values >= -slack
    if inside.all():
        return segment
    if not inside.any():
        return None
    share = values[0] / (values[0] - values[1])
    meeting = segment[0] + share * (segment[1] - segment[0])
    kept = np.stack([segment[0], meeting]) if inside[0] else np.stack([meeting, segment[1]])
    return kept if (kept[0] != kept[1]).any() else None
