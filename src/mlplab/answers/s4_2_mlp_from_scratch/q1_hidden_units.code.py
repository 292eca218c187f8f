"""Validation accuracy by number of hidden units; the one-standard-error rule."""

import numpy as np

from mlplab import data
from mlplab.answers.s4_2_mlp_from_scratch.q1_hidden_units import (
    one_standard_error,
)
from mlplab.engine import Result, train
from mlplab.spec import MLP, Run, Setting, Training

digits = data.load("digits")
widths = [2, 4, 8, 16, 32, 64, 128]
runs = [
    Run(Setting(MLP((w,)), training=Training(batch_size=16)), digits.fingerprint, s)
    for w in widths
    for s in range(5)
]
found = train(runs, {digits.fingerprint: digits})
accuracy = {r.run: r.metrics for r in found if isinstance(r, Result)}
scores = np.array([accuracy[run]["validation_accuracy"] for run in runs])
scores = scores.reshape(len(widths), -1)
best, picked = one_standard_error(scores)
for width, row in zip(widths, scores, strict=True):
    print(f"{width:4} units: {100 * row.mean():.1f} %")
print("best:", widths[best], " one standard error:", widths[picked])
