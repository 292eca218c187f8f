"""A rate for each depth by validation; then fresh seeds on test data."""

from statistics import mean

from mlplab import data
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import Run, Setting

digits = data.load("digits")
he = turn(Setting(), batch_size=16, epochs=5, initialization="kaiming_normal")


def score(depth, rate, seeds, metric):
    setting = turn(he, hidden_sizes=(64,) * depth, learning_rate=rate)
    runs = [Run(setting, digits.fingerprint, seed) for seed in seeds]
    records = train(runs, {digits.fingerprint: digits})
    results = [record for record in records if isinstance(record, Result)]
    return mean(r.metrics.get(metric, 0.1) for r in results)


for depth in (1, 2, 3):
    tried = {r: score(depth, r, range(2), "validation_accuracy")
             for r in (0.03, 0.1, 0.3, 1.0)}
    best = max(tried, key=lambda rate: tried[rate])
    fresh = score(depth, best, range(100, 105), "test_accuracy")
    print(f"{depth} hidden layers: rate {best}, test {fresh:.1%}")
