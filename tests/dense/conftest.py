from collections.abc import Callable

import pytest
import torch
from torch import nn

from shiftscope.placement import Placement


def windows_one_by_one(model: nn.Module, placement: Placement, images: torch.Tensor) -> torch.Tensor:
    """Outputs (B, P, K) of the plain model, shown one placed canvas after the other."""
    model.eval()
    offsets, logits = placement.offsets(), []
    with torch.no_grad():
        for image in images:
            canvases = placement.place(image.expand(len(offsets), -1, -1, -1).contiguous(), offsets)
            logits.append(model(canvases.double() / 255))
    return torch.stack(logits)


@pytest.fixture
def brute() -> Callable[[nn.Module, Placement, torch.Tensor], torch.Tensor]:
    return windows_one_by_one
