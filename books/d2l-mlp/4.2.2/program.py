"""One to four hidden layers from two starts, on 1,797 small digits."""

from mlplab import data
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import Run, Setting

digits = data.load("digits")
base = turn(Setting(), batch_size=16, epochs=10)
for start in ("normal", "kaiming_normal"):
    for depth in (1, 2, 3, 4):
        sizes = (64,) * depth
        setting = turn(base, initialization=start, hidden_sizes=sizes)
        runs = [Run(setting, digits.fingerprint, seed) for seed in range(3)]
        found = train(runs, {digits.fingerprint: digits})
        results = [record for record in found if isinstance(record, Result)]
        scores = [f"{r.metrics['test_accuracy']:.1%}" for r in results]
        print(f"{start:15} {depth} hidden layers: {', '.join(scores)}")
