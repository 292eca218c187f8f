"""Learning rates on a log grid, read at several epochs of one training."""

from mlplab import data
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import Run, Setting

digits = data.load("digits")
base = turn(Setting(), batch_size=16, epochs=16)
print("rate     validation accuracy after 1, 2, 4, 8, 16 epochs")
for rate in (0.001, 0.01, 0.1, 1.0, 10.0):
    setting = turn(base, learning_rate=rate)
    runs = [Run(setting, digits.fingerprint, seed) for seed in range(3)]
    for record in train(runs, {digits.fingerprint: digits}):
        if not isinstance(record, Result):
            continue
        curve = record.curves.get("validation_accuracy", [])
        reached = [f"{curve[e - 1]:6.1%}" for e in (1, 2, 4, 8, 16)
                   if len(curve) >= e]
        print(f"{rate:<8}", *reached, record.status)
