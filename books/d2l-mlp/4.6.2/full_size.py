"""100 epochs with and without dropout: losses without noise."""

from mlplab.data import load
from mlplab.engine import Result, train
from mlplab.knobs import turn
from mlplab.spec import MLP, Run, Setting

data = load("digits")
base = turn(
    Setting(MLP((64, 64))),
    learning_rate=0.5,
    batch_size=64,
    epochs=100,
    probes=("train_part",),  # the training part in evaluation mode
)
arms = [turn(base, dropout=rates) for rates in [(0.2, 0.5), (0, 0)]]
runs = [Run(arm, data.fingerprint, seed=0) for arm in arms]
print("dropout   epoch  training loss  validation loss")
for end in train(runs, data):
    if isinstance(end, Result):
        rates = tuple(noise.rate for noise in end.run.setting.noises)
        pair = end.curves["train_loss"], end.curves["validation_loss"]
        for epoch in (10, 50, 100):
            losses = [curve[epoch - 1] for curve in pair]
            print(f"{rates}{epoch:6}{losses[0]:15.4f}{losses[1]:17.4f}")
