"""Values and errors of the normalization."""

import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.layers import Normalize


@pytest.mark.parametrize("mean, std", [(0.5, 0.25), ([0.1, 0.2, 0.3], 0.5), ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])])
def test_each_channel_has_its_own_mean_and_std(mean, std):
    pixels = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    means, stds = (torch.tensor(value).expand(3) for value in (mean, std))
    for channel, found in enumerate(Normalize(mean, std)(pixels).unbind(1)):
        assert torch.allclose(found, (pixels[:, channel] - means[channel]) / stds[channel])


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(UsageError, match="mean and std must be one number each, or one per channel"):
        Normalize([0.1, 0.2, 0.3], [0.5, 0.5])
    with pytest.raises(UsageError, match=r"the normalization is for 3 channels, got pixels of shape \(1, 2, 4, 4\)"):
        Normalize([0.1, 0.2, 0.3], 0.5)(torch.zeros(1, 2, 4, 4))
    with pytest.raises(UsageError, match="std must be above 0"):
        Normalize(0.5, 0.0)
