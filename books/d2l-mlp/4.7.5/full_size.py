"""Several devices, a smaller batch, accumulation, checkpointing: compared."""

import torch
from torch import nn

from mlplab.analysis.parallelism import compare_parallelism

torch.manual_seed(0)
front = nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()
model, loss = nn.Sequential(*front, nn.Linear(256, 10)), nn.CrossEntropyLoss()
x, y = torch.randn(64, 784), torch.randint(10, (64,))

comparison = compare_parallelism(
    model, x, y, loss, batch_size=64, num_devices=2, num_batches=50
)
print(comparison.table().to_string(index=False))
