"""Successive halving by hand: each rung goes on where the last one ended."""

from mlplab.data import load
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import Run, Setting
from mlplab.study.tuning import Space

data = load("digits")
base = turn(Setting(), initialization="kaiming_normal", batch_size=64)
space = Space(base, learning_rate="loguniform(0.001,2)", dropout="0,0.2,0.5")
standing, states = [space.draw(seed=0, number=n) for n in range(27)], {}
for epochs in (1, 3, 9, 27):
    runs = {
        Run(turn(arm.setting, epochs=epochs), data.fingerprint, 0): arm
        for arm in standing
    }
    past = {run: states[arm] for run, arm in runs.items() if arm in states}
    records = train(list(runs), data, states=past, keep_states=True)
    ends = [end for end in records if isinstance(end, Result) and end.metrics]
    ends.sort(key=lambda end: -end.metrics["validation_accuracy"])
    states = {runs[end.run]: end.state for end in ends if end.state}
    print(f"{epochs:2} epochs: {len(standing):2} settings, best", end=" ")
    accuracy = ends[0].metrics["validation_accuracy"]
    print(f"{accuracy:.3f}", runs[ends[0].run].name)
    standing = [runs[end.run] for end in ends[: max(len(standing) // 3, 1)]]
