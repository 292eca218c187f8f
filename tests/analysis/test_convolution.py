"""What a convolution takes beside its output, for any number of channels, is what PyTorch's profiler sees."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlplab.analysis.memory import memory


@pytest.mark.parametrize("out_channels", [6, 16])
@pytest.mark.parametrize("in_channels", [1, 3, 8, 16])
def test_the_peak_of_one_convolution_is_predicted(in_channels: int, out_channels: int):
    """At first channels, where oneDNN chooses among layouts, images are large beside everything else."""
    model = nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1))
    found = memory(model, torch.randn(8, in_channels, 24, 24), optimizer="none", measure=True)
    assert found.measured is not None
    assert found.training.peak == pytest.approx(found.measured.peak, rel=0.05)
