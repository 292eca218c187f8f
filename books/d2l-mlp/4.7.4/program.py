"""What second derivatives cost: operations counted, not timed."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

# %% data
torch.manual_seed(0)
x, y = torch.randn(16, 8), torch.randint(3, (16,))


# %% model
def params_of(num_hiddens):
    shapes = ((8, num_hiddens), (num_hiddens,), (num_hiddens, 3), (3,))
    return [(torch.randn(s) / 3).requires_grad_() for s in shapes]


def loss(W1, b1, W2, b2):
    return F.cross_entropy(torch.tanh(x @ W1 + b1) @ W2 + b2, y)


# %% result
sizes, rows, wholes = [], [], []
for num_hiddens in (2, 4, 8):
    params = params_of(num_hiddens)
    with FlopCounterMode(display=False) as once:
        grads = torch.autograd.grad(loss(*params), params, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in grads])  # it has a graph, too
    with FlopCounterMode(display=False) as all_rows:
        for entry in flat:  # each row of the Hessian is one more backward
            torch.autograd.grad(entry, params, retain_graph=True)
    sizes.append(len(flat))
    wholes.append(all_rows.get_total_flops() / once.get_total_flops())
    rows.append(wholes[-1] / sizes[-1])
    print(f"P = {sizes[-1]}: a row costs {rows[-1]:.2f} gradients,", end=" ")
    print(f"the whole Hessian {wholes[-1]:.0f}")
dearest_row = max(rows)
slope = np.polyfit(np.log(sizes), np.log(wholes), 1)[0]
print(f"On double logarithmic axes the slope is {slope:.2f}: P rows, not two.")

# %% curve
plt.loglog(sizes, wholes, "o-", label="whole Hessian")
plt.loglog(sizes, rows, "s--", label="one row")
plt.xlabel("parameters P")
plt.ylabel("operations (one gradient = 1)")
plt.legend()
plt.show()
