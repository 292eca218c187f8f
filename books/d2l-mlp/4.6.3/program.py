"""Variance of a layer before and after dropout, against the identity."""

import torch

torch.manual_seed(0)
h = torch.relu(torch.randn(256, 256, dtype=torch.float64) + 0.5)
mean, variance = h.mean(), h.var(correction=0)
for p in (0.2, 0.5, 0.8):
    dropout = torch.nn.Dropout(p)
    seen = torch.stack([dropout(h).var(correction=0) for _ in range(200)])
    error = seen.std() / len(seen) ** 0.5
    formula = variance / (1 - p) + mean**2 * p / (1 - p)
    print(
        f"p = {p}: before {variance:.4f}, after {seen.mean():.4f} "
        f"± {error:.4f}, formula {formula:.4f}"
    )
dropout.eval()  # in evaluation it does nothing
print(f"evaluation: {dropout(h).var(correction=0):.4f}")
