"""alibi-detect's answers, in a Python of its own (it wants older packages): shift_peer.py SAMPLES.npz, JSON out.

The file holds `reference` and `current`, (repeat, row, feature) each. Printed: p-values by detector, as the library's
own decision sees them: the smallest of KS times the number of features (its Bonferroni rule).
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")


def main(path: str) -> None:
    import alibi_detect  # pyright: ignore[reportMissingImports] - only there
    from alibi_detect.cd import ClassifierDrift, KSDrift, MMDDrift  # pyright: ignore[reportMissingImports]
    from sklearn.linear_model import LogisticRegression

    with np.load(path) as held:
        pairs = list(zip(held["reference"], held["current"], strict=True))
    found: dict[str, list[float]] = {"KSDrift": [], "MMDDrift": [], "ClassifierDrift, 5 folds": []}
    for reference, current in pairs:
        found["KSDrift"].append(
            float(min(1.0, KSDrift(reference).predict(current)["data"]["p_val"].min() * reference.shape[1]))
        )
        mmd = MMDDrift(reference, backend="pytorch", n_permutations=99)
        found["MMDDrift"].append(float(mmd.predict(current)["data"]["p_val"]))
        folds = ClassifierDrift(
            reference, LogisticRegression(), backend="sklearn", preds_type="probs", n_folds=5, train_size=None
        )
        found["ClassifierDrift, 5 folds"].append(float(folds.predict(current)["data"]["p_val"]))
    print(json.dumps({"version": alibi_detect.__version__, "p_values": found}))


if __name__ == "__main__":
    main(sys.argv[1])
