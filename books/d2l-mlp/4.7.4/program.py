"""What second derivatives cost: operations counted, not timed."""

import torch
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(0)
x, y = torch.randn(16, 8), torch.randint(3, (16,))
for width in (2, 4, 8):
    net = torch.nn.Sequential(
        torch.nn.Linear(8, width), torch.nn.Tanh(), torch.nn.Linear(width, 3)
    )
    params = list(net.parameters())
    count = sum(p.numel() for p in params)

    with FlopCounterMode(display=False) as once:
        loss = torch.nn.functional.cross_entropy(net(x), y)
        slopes = torch.autograd.grad(loss, params, create_graph=True)
    flat = torch.cat([s.reshape(-1) for s in slopes])
    with FlopCounterMode(display=False) as rows:
        for entry in flat:  # each row of the Hessian is one more pass
            torch.autograd.grad(entry, params, retain_graph=True)

    one, whole = once.get_total_flops(), rows.get_total_flops()
    print("P =", count, "row:", whole / count / one, "gradients;", end=" ")
    print("whole Hessian:", whole / one, "gradients")
