"""What one writes in ten minutes: every window cut out of a large field, 841 an image, and counted.

The plain script that the audit is measured against and, being written without any of Shiftscope's code, checked with.
"""

import torch
import torch.nn.functional as F
from torch import nn


@torch.no_grad()
def cut_windows(model: nn.Module, images: torch.Tensor, canvas: int = 56) -> torch.Tensor:
    """Return the logits (N, P, K) of uint8 images (N, C, h, w) at every offset of a square canvas, row by row."""
    found = []
    for image in images:
        room = canvas - image.shape[-1]
        field = F.pad(image[None].float() / 255, (room,) * 4)
        windows = field.unfold(2, canvas, 1).unfold(3, canvas, 1)[0].permute(1, 2, 0, 3, 4)
        windows = windows.flip(0, 1).reshape(-1, len(image), canvas, canvas)  # window (i, j): offset room - (i, j)
        found.append(model(windows.contiguous()))
    return torch.stack(found)
