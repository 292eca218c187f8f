"""Search on validation data, refit with fresh seeds, look at the test once."""

import tempfile

from mlplab.data import load
from mlplab.knobs import turn
from mlplab.spec import Setting
from mlplab.study import Store
from mlplab.study.tuning import Space, tune

start = turn(Setting(), initialization="kaiming_normal", drop_last=True)
space = Space(
    turn(start, epochs=9, evaluate_every=9),
    learning_rate="loguniform(0.02,1)",
    batch_size="16,32,64",
    hidden_sizes="32|128|64,64",
    schedule="constant,cosine",
)
with Store(f"{tempfile.mkdtemp()}/runs.sqlite") as store:
    found = tune(
        space, load("digits"), store, strategy="halving", budget=6, seeds=5
    )
print("winner        ", found.winner.name)
print(f"in the search  {found.search_value:.3f}")
print(f"fresh seeds    {found.value('validation_accuracy').estimate:.3f}")
print(f"test, once     {found.value('test_accuracy').estimate:.3f}")
