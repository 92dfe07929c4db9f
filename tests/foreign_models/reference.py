"""The independent reference: placements cut with NumPy, the bare model, argmax. It imports nothing of Shiftscope.

Definitions: mode canvas puts the image's top-left corner at row dy, column dx of an empty canvas; circular puts it at
((H-h)//2, (W-w)//2) and rolls the canvas by (dy, dx); crop shows the window of the image whose corner is (dy, dx).
"""

import numpy as np
import torch

NONFINITE = -1
"""Class of an output that has a NaN or whose maximum is infinite."""


def canvases(images, size, mode, background=0):
    """Return uint8 (N, P, C, H, W): every image at every placement, row-major order of (dy, dx)."""
    (H, W), (h, w) = size, images.shape[2:]
    rows, columns = (H, W) if mode == "circular" else (abs(H - h) + 1, abs(W - w) + 1)
    found = np.full((len(images), rows * columns, images.shape[1], H, W), background, np.uint8)
    for p, (dy, dx) in enumerate(np.ndindex(rows, columns)):
        if mode == "canvas":
            found[:, p, :, dy:dy + h, dx:dx + w] = images
        elif mode == "crop":
            found[:, p] = images[:, :, dy:dy + H, dx:dx + W]
        else:
            top, left = (H - h) // 2, (W - w) // 2
            found[:, p, :, top:top + h, left:left + w] = images
            found[:, p] = np.roll(found[:, p], (dy, dx), axis=(2, 3))
    return found


@torch.no_grad()
def outputs(model, pictures, dtype=torch.float32):
    """Return the bare model's outputs (B, K) in double precision for uint8 images (B, C, H, W), as one batch."""
    return np.array(model(torch.from_numpy(pictures).to(dtype) / 255).detach().double().tolist())


def predictions(found):
    """Return the class of each row of outputs (.., K): the first maximum, or `NONFINITE`."""
    lost = np.isnan(found).any(-1) | ~np.isfinite(found.max(-1))
    return np.where(lost, NONFINITE, found.argmax(-1))
