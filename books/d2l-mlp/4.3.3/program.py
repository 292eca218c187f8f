"""What three starts make of a signal in ten ReLU layers, beside theory."""

import torch
from torch import nn

from mlplab.analysis.signal_propagation import signal_propagation

STARTS = {
    "N(0, 0.01^2)": lambda w: nn.init.normal_(w, std=0.01),
    "Glorot": nn.init.xavier_normal_,
    "He": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
}


def deep(start):
    layers = []
    for _ in range(10):
        linear = nn.Linear(256, 256)
        start(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


for name, start in STARTS.items():
    found = signal_propagation(lambda s=start: deep(s), torch.randn(64, 256))
    forward = found.rows[found.rows["direction"] == "forward"]
    last = forward.iloc[-1]
    print(f"{name:12} {last.predicted:.2e} predicted {last.estimate:.2e}")
