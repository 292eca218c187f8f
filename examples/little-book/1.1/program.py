"""Train digits with and without a hidden layer, and compare seed by seed."""

from mlplab import data
from mlplab.charts.show import percent_interval, points_interval
from mlplab.knobs import turn
from mlplab.spec import MLP, Setting
from mlplab.stats import mean_interval, paired
from mlplab.study import Store, Study, factorial, run_study

base = Setting(MLP((30,)))
base = turn(base, activation="sigmoid", epochs=60)
base = turn(base, batch_size=32, learning_rate=0.3)
bare, hidden = factorial(base, hidden_sizes=[(), (30,)])
with Store() as store:
    study = Study([bare, hidden], seeds=8, data=data.load("digits"))
    runs = run_study(study, store)

accuracy = mean_interval(runs.values("test_accuracy", bare.name))
print("no hidden layer, in %:", percent_interval(accuracy))
gain = paired(runs.differences("test_accuracy", hidden.name, bare.name))
print("hidden - none, in points:", points_interval(gain))
