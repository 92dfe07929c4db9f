"""A short script that evaluates every placement: each window is cut out of a large field, image by image.

It is the baseline of the audit's speed. It uses no code of Shiftscope for placements, so it also checks their results.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bench.worker import timed
from shiftscope.models import build_model


@torch.no_grad()
def cut_windows(model: nn.Module, images: torch.Tensor, canvas: tuple[int, int] = (56, 56)) -> torch.Tensor:
    """Return the outputs (N, P, K) for uint8 images (N, C, h, w) at every offset of a canvas (H, W), row by row."""
    (H, W), (h, w) = canvas, images.shape[-2:]
    down, right = H - h, W - w
    outputs = []
    for image in images:
        field = F.pad(image[None].float() / 255, (right, right, down, down))
        windows = field.unfold(2, H, 1).unfold(3, W, 1)[0].permute(1, 2, 0, 3, 4)
        windows = windows.flip(0, 1).reshape(-1, len(image), H, W)  # window (i, j): offset (down - i, right - j)
        outputs.append(model(windows.contiguous()))
    return torch.stack(outputs)


def plain_audit(name: str, images: np.ndarray, canvas: tuple[int, int], classes: int, device: str
                ) -> Callable[[int, int], float]:
    """Return a function that audits images from one number to another and returns seconds; for `WorkerProcess`."""
    model = build_model(name, canvas=canvas, channels=images.shape[1], classes=classes).eval().to(device)
    target = torch.device(device)

    def run(first: int, end: int) -> float:
        return timed(lambda: cut_windows(model, torch.from_numpy(images[first:end]).to(target), canvas), target)

    return run
