"""Channels, cells and heads that start equal: how many can ever differ?"""

import torch
from torch import nn

from mlplab.analysis.symmetry import symmetry


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.out = nn.LSTM(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.cells(x)[0][-1])


models = {
    (2, 1, 8, 8): [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3)],
    (5, 2, 3): [Recurrent()],
    (5, 2, 16): [nn.TransformerEncoderLayer(16, 4, 32, dropout=0)],
}
for shape, layers in models.items():
    model = nn.Sequential(*layers)
    for start in ("random", "equal"):
        for parameter in model.parameters() if start == "equal" else ():
            nn.init.constant_(parameter, 0.1)
        for group in symmetry(model, torch.zeros(shape)).groups:
            many = f"{group.num_different} of {group.num_units} {group.kind}"
            print(f"{group.name}, {start} start: {many} can differ")
