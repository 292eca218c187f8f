"""One-dimensional signals in ten classes: a problem with MNIST's difficulties at a twentieth of its size.

Each example is a template, sheared, scaled, put at a random place in a longer line, and disturbed by smooth
and white noise. A linear model fails because a class has no fixed place; a network that learns shapes does
not.

Written from the description in Greydanus and Kobak 2024, Scaling down deep learning with MNIST-1D
(arXiv:2011.14439). The templates and the generator are our own: accuracies are not comparable with those
published for MNIST-1D.
"""

from __future__ import annotations

import numpy as np

from mlplab.data.dataset import Dataset, Part
from mlplab.data.synthetic import LICENCE, SOURCE, draw_number, part_sizes, stream

NAME = "signals-1d"
TITLE = "One-dimensional signals in ten classes, after the idea of MNIST-1D"
CITATION = "after Greydanus and Kobak 2024, Scaling down deep learning with MNIST-1D (arXiv:2011.14439)"
NUM_FEATURES = 40
CLASS_NAMES = (
    "hill", "valley", "two hills", "two valleys", "rise",
    "fall", "wave", "sawtooth", "early spike", "late spike",
)  # fmt: skip

# Heights at 12 places, one row a class, in the order of the names.
TEMPLATES = np.array(
    [
        [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0],
        [0, -1, -2, -3, -4, -5, -5, -4, -3, -2, -1, 0],
        [0, 2, 5, 5, 2, 0, 0, 2, 5, 5, 2, 0],
        [0, -2, -5, -5, -2, 0, 0, -2, -5, -5, -2, 0],
        [-4, -4, -3, -3, -2, -1, 1, 2, 3, 3, 4, 4],
        [4, 4, 3, 3, 2, 1, -1, -2, -3, -3, -4, -4],
        [0, 3, 5, 5, 3, 1, -1, -3, -5, -5, -3, 0],
        [-4, -1, 2, 5, -4, -1, 2, 5, -4, -1, 2, 5],
        [0, 3, 6, 3, 0, -1, -1, -1, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 3, 0],
    ],
    dtype=np.float64,
)

_WIDTH = 18  # of a template in the line; it starts anywhere from 0 to 22
_SMOOTH = np.exp(-0.5 * (np.arange(-4, 5) / 1.5) ** 2)  # the smooth noise's correlation: about two places


def signals_1d(num_train: int = 4_000, num_test: int = 1_000, draw: int = 0) -> Dataset:
    """Signals of 40 heights, in ten classes in turn, each part as balanced as its size allows.

    Arguments:
      num_test: size of the test part, and of the validation part.
      draw: which of the data sets; all parts are drawn anew, the templates stay.

    `truth["templates"]` are the ten shapes, (10, 12). Raises InvalidInput for a value that is not allowed.
    """
    sizes = part_sizes(NAME, num_train, num_test)
    draw = draw_number(NAME, draw)

    def part(name: str) -> Part:
        labels = np.arange(sizes[name]) % len(TEMPLATES)
        return Part(_signals(labels, name, draw).astype(np.float32), labels)

    return Dataset(
        name=NAME,
        title=TITLE,
        task="classification",
        train=part("train"),
        validation=part("validation"),
        test=part("test"),
        out_features=len(TEMPLATES),
        feature_shape=(NUM_FEATURES,),
        class_names=CLASS_NAMES,
        source=SOURCE,
        details="Ten templates at random places and scales, sheared, under smooth and white noise.",
        licence=LICENCE,
        citation=CITATION,
        truth={"templates": TEMPLATES.copy()},
        parameters={"num_train": sizes["train"], "num_test": sizes["test"], "draw": draw},
    )


def _signals(labels: np.ndarray, part: str, draw: int) -> np.ndarray:
    num_examples = len(labels)
    start = (NUM_FEATURES - _WIDTH) * stream(NAME, part, "places", draw).uniform((num_examples, 1))
    scale = 0.6 + 0.8 * stream(NAME, part, "scales", draw).uniform((num_examples, 1))
    shear = 0.5 * stream(NAME, part, "shears", draw).normal((num_examples, 1))
    noise = stream(NAME, part, "noise", draw).normal((num_examples, 2, NUM_FEATURES + len(_SMOOTH) - 1))

    # Where on its template each place of the line lies; beyond its ends the signal is 0.
    place = (np.arange(NUM_FEATURES) - start) * (TEMPLATES.shape[1] - 1) / (_WIDTH - 1)
    left = np.clip(np.floor(place).astype(np.int64), 0, TEMPLATES.shape[1] - 2)
    share = place - left
    rows = labels[:, None]
    shape = (1 - share) * TEMPLATES[rows, left] + share * TEMPLATES[rows, left + 1]
    inside = (place >= 0) & (place <= TEMPLATES.shape[1] - 1)
    signal = np.where(inside, scale * shape / 4, 0) + shear * np.linspace(-1, 1, NUM_FEATURES)

    windows = np.lib.stride_tricks.sliding_window_view(noise[:, 0], len(_SMOOTH), axis=1)
    smooth = windows @ (_SMOOTH / np.linalg.norm(_SMOOTH))
    return signal + 0.25 * smooth + 0.05 * noise[:, 1, :NUM_FEATURES]
