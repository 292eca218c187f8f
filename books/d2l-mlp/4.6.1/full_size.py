"""Swap the two dropout rates, and compare seed by seed."""

from mlplab import data
from mlplab.answers import ours
from mlplab.charts.show import points_interval
from mlplab.stats import paired
from mlplab.study import Store, Study, factorial, run_study

given, swapped = factorial(
    ours().module("chapter").DROPOUT_SETTING,
    hidden_sizes=[(64, 64)],  # small enough for half a minute on any machine
    dropout=[(0.2, 0.5), (0.5, 0.2)],
    epochs=[20],
)
digits = data.load("digits")
with Store() as store:
    runs = run_study(Study([given, swapped], seeds=12, data=digits), store)

change = runs.differences("test_accuracy", swapped.name, given.name)
found = paired(change, claim="equivalent", margin=0.003)
print("swapped - given, in points:", points_interval(found), found.verdict)
