"""Named data sets, files and synthetic problems, each with a fingerprint of its content.

data = load("fashion-mnist")              from MLPLAB_DATA or the cache
data = load("polynomial", num_train=20, draw=3)
data.train.features, data.part("test"), data.fingerprint, data.source
"""

from mlplab.data.catalogue import TABLES, Info, fetch, files, info, load, load_table, names, score
from mlplab.data.dataset import Dataset, Part, fingerprint
from mlplab.data.scoreboard import Board, Gap

__all__ = [
    "TABLES",
    "Board",
    "Dataset",
    "Gap",
    "Info",
    "Part",
    "fetch",
    "files",
    "fingerprint",
    "info",
    "load",
    "load_table",
    "names",
    "score",
]
