"""Two devices, a smaller batch, accumulation, checkpointing: compared."""

import torch
from torch import nn

from mlplab.analysis.parallelism import compare_parallelism

torch.manual_seed(0)
front = nn.Sequential(nn.Linear(784, 256), nn.ReLU())
back = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
model, loss = nn.Sequential(*front, *back), nn.CrossEntropyLoss()
x, y = torch.randn(64, 784), torch.randint(10, (64,))

h = front(x)  # on the first device
arrived = h.detach().requires_grad_()  # sent to the second
end = loss(back(arrived), y)
here = torch.autograd.grad(end, [arrived, *back.parameters()])
there = torch.autograd.grad(h, list(front.parameters()), here[0])  # sent back

whole = torch.autograd.grad(loss(model(x), y), list(model.parameters()))
pairs = zip((*there, *here[1:]), whole, strict=True)
print("split differs by", max((a - b).abs().max().item() for a, b in pairs))

found = compare_parallelism(
    model, x, y, loss, batch_size=64, num_devices=2, num_batches=50
)
print(found.table().to_string(index=False))
