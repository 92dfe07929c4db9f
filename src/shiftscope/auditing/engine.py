"""What computes the logits of images at every placement: the plain model, or something that equals it."""

from typing import Protocol

import torch


class Engine(Protocol):
    """Computes the logits of images at all placements that it was made for."""

    @property
    def name(self) -> str:
        """"dense" or "brute"."""
        ...

    @property
    def images_at_once(self) -> int:
        """Images a call, for its memory to be enough."""
        ...

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, P, K), in the order of the offsets, on the model's device.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
        """
        ...
