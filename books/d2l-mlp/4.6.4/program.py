"""All masks of a softmax layer: their geometric mean is one plain pass."""

import itertools

import torch

torch.manual_seed(0)
p, units, classes = 0.3, 10, 4
h = torch.rand(units, dtype=torch.float64)
layer = torch.nn.Linear(units, classes, dtype=torch.float64)
arithmetic = torch.zeros(classes, dtype=torch.float64)
logarithm = torch.zeros(classes, dtype=torch.float64)
with torch.no_grad():
    for bits in itertools.product((0.0, 1.0), repeat=units):
        mask = torch.tensor(bits, dtype=torch.float64)
        share = (1 - p) ** sum(bits) * p ** (units - sum(bits))
        out = torch.softmax(layer(h * mask / (1 - p)), 0)
        arithmetic += share * out
        logarithm += share * out.log()
    plain = torch.softmax(layer(h), 0)
geometric = torch.softmax(logarithm, 0)  # made to sum to 1
print("no mask         ", *(f"{x:.10f}" for x in plain))
print("geometric mean  ", *(f"{x:.10f}" for x in geometric))
print("arithmetic mean ", *(f"{x:.10f}" for x in arithmetic))
