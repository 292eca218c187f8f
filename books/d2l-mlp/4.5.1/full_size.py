"""Test loss against weight decay: from the section's start, and from zero."""

from mlplab import data
from mlplab.answers import ours
from mlplab.spec import Initialization
from mlplab.study import Store, Study, factorial, run_study

starts = [Initialization("normal", std=1.0), Initialization("zeros")]
arms = factorial(
    ours().module("chapter").LINEAR_SETTING,
    initialization=[(start,) for start in starts],
    weight_decay=[0.0, 1.0, 3.0, 10.0],
)
seeds = range(10)  # each draws a problem of its own
problems = {seed: data.load("linear-high-dim", draw=seed) for seed in seeds}
with Store() as store:
    runs = run_study(Study(arms, seeds, problems.__getitem__), store)

summary = runs.summary("test_loss")
print(summary[["arm", "estimate", "ci_low", "ci_high"]].to_string(index=False))
