"""Validation accuracy by width, and the one-standard-error rule."""

import numpy as np

from mlplab import data
from mlplab.answers import ours
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import Run, Setting

q = ours().exercise("4.2.1").module

digits = data.load("digits")
base = turn(Setting(), batch_size=16)
widths = [2, 4, 8, 16, 32, 64, 128]
runs = [
    Run(turn(base, hidden_sizes=(w,)), digits.fingerprint, s)
    for w in widths
    for s in range(5)
]
found = train(runs, {digits.fingerprint: digits})
metrics = {r.run: r.metrics for r in found if isinstance(r, Result)}
scores = np.array([metrics[run]["validation_accuracy"] for run in runs])
scores = scores.reshape(len(widths), -1)
rule = q.one_standard_error
best, picked = rule(scores)
for width, row in zip(widths, scores, strict=True):
    print(f"{width:4} units: {100 * row.mean():.1f} %")
print("best:", widths[best], " one standard error:", widths[picked])
