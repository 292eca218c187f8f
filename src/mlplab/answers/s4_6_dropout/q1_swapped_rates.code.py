"""Swap the two dropout rates, and compare seed by seed."""

from mlplab import data
from mlplab.answers.chapter import DROPOUT_SETTING
from mlplab.stats import paired
from mlplab.study import Store, Study, factorial, run_study

given, swapped = factorial(
    DROPOUT_SETTING,
    hidden_sizes=[(64, 64)],  # small enough for a minute on any machine
    dropout=[(0.2, 0.5), (0.5, 0.2)],
    epochs=[40],
)
digits = data.load("digits")
with Store() as store:
    runs = run_study(Study([given, swapped], seeds=12, data=digits), store)

change = runs.differences("test_accuracy", swapped.name, given.name)
found = paired(change, claim="equivalent", margin=0.003)
low, high = 100 * found.ci_low, 100 * found.ci_high
print(f"swapped - given: {100 * found.estimate:+.2f} points", end=" ")
print(f"[{low:+.2f}, {high:+.2f}]: {found.verdict}")
