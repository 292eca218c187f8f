"""The best of m equal settings is flattered: by how much?"""

import math

import numpy as np

from mlplab.answers import ours

q = ours().exercise("4.2.5").module

rng = np.random.default_rng(0)
print("     m  simulated  exact  sqrt(2 ln m)  trained again")
for m in (4, 16, 64, 256, 1024):
    search = rng.standard_normal((2000, m))  # all settings equally good
    again = rng.standard_normal((2000, m))
    winner = search.argmax(1)
    rows = np.arange(len(search))
    print(
        f"{m:6} {search[rows, winner].mean():10.3f}"
        f" {q.expected_maximum(m):6.3f} {math.sqrt(2 * math.log(m)):13.3f}"
        f" {again[rows, winner].mean():14.3f}"
    )
