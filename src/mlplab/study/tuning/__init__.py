"""Search strategies, and `tune`: which settings, and what is left of them with fresh seeds.

space = Space(Setting(), learning_rate="loguniform(0.001,1)", dropout=[0, 0.2, 0.5])
with Store() as store:
    found = tune(space, load("digits"), store, strategy="hyperband", budget=60)
found.winner.levels, found.optimism(), found.value("test_accuracy")
"""

from mlplab.study.space import Space
from mlplab.study.tuning.bench import Bench, Trial
from mlplab.study.tuning.tuning import STRATEGIES, Tuning, tune, tune_by

__all__ = ["STRATEGIES", "Bench", "Space", "Trial", "Tuning", "tune", "tune_by"]
