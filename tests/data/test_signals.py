from __future__ import annotations

import warnings

import numpy as np

from mlplab import data
from mlplab.data.signals import TEMPLATES


def test_shapes_and_balance() -> None:
    loaded = data.load("signals-1d")
    assert {name: part.features.shape for name, part in loaded.parts.items()} == {
        "train": (4000, 40), "validation": (1000, 40), "test": (1000, 40),
    }  # fmt: skip
    for part in loaded.parts.values():
        assert (np.bincount(part.targets) == part.num_examples // 10).all()
    assert (loaded.truth["templates"] == TEMPLATES).all()


def test_no_two_templates_are_alike() -> None:
    correlations = np.corrcoef(TEMPLATES) - np.eye(10)
    assert correlations.max() < 0.8


def test_places_make_it_hard_for_a_line_and_easy_for_a_network() -> None:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.neural_network import MLPClassifier

    loaded = data.load("signals-1d", num_train=2000)
    train, test = loaded.train, loaded.test
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could have gone on longer
        network = MLPClassifier((50,), max_iter=25, random_state=0).fit(train.features, train.targets)
    linear = RidgeClassifier().fit(train.features, train.targets)
    linear_accuracy = linear.score(test.features, test.targets)
    network_accuracy = network.score(test.features, test.targets)
    assert 0.2 < linear_accuracy < 0.55  # guessing gets 0.1
    assert network_accuracy > linear_accuracy + 0.2
