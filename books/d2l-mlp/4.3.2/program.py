"""Activations, each at the rate that validation data prefer for it."""

from statistics import mean

from mlplab import data
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import Run, Setting

digits = data.load("digits")
start = turn(Setting(), batch_size=16, initialization="xavier_uniform")


def scores(activation, rate, seeds, metric):
    setting = turn(start, activation=activation, learning_rate=rate)
    runs = [Run(setting, digits.fingerprint, seed) for seed in seeds]
    records = list(train(runs, {digits.fingerprint: digits}))
    return [r.metrics.get(metric, 0.1) for r in records
            if isinstance(r, Result)]


for name in ("relu", "gelu", "tanh", "sigmoid"):
    tried = {r: mean(scores(name, r, range(2), "validation_accuracy"))
             for r in (0.03, 0.1, 0.3, 1.0)}
    best = max(tried, key=lambda rate: tried[rate])
    fresh = mean(scores(name, best, range(100, 104), "test_accuracy"))
    print(f"{name:8} rate {best:<5} test {fresh:.1%}")
