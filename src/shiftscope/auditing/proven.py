"""The engine for models that no placement can change: each image is computed once, and its answer is the one of all."""

import torch

from shiftscope.auditing.subject import Subject
from shiftscope.dense import prove_invariance
from shiftscope.evaluation.brute import BruteEngine


class ProofEngine:
    """The logits of a model at all placements, from those at one of them, see `dense.prove_invariance`.

    Args:
        subject: what is audited; its placements may be a sample.

    Attributes:
        proof: what was followed.

    Raises:
        NotInvariant: the model is not shown to be indifferent to place.
    """

    name = "dense"

    def __init__(self, subject: Subject):
        channels, height, width = subject.images.shape
        self.proof = prove_invariance(subject.model, subject.placement, (channels, height, width))
        self.placements = len(subject.offsets)
        middle = torch.tensor([subject.placement.middle])
        self._once = BruteEngine(subject.model, subject.placement, subject.images.shape, middle, memory=subject.memory)
        self.images_at_once = max(1, min(self._once.chunk, subject.memory // self._bytes(subject)))

    def _bytes(self, subject: Subject) -> int:
        """Return the bytes that looking at all answers to one image takes: their order, and what is made of it."""
        image = torch.zeros(1, *subject.images.shape, dtype=torch.uint8, device=self._once.device)
        return 8 * self.placements * self._once.logits(image).nbytes

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, P, K): for each image the same P times, in memory once.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
        """
        return self._once.logits(images).expand(-1, self.placements, -1)

    @property
    def reason(self) -> str:
        """A sentence that says why one placement is enough."""
        return (f"each image was computed once, for none of the {self.placements} placements can change the model's "
                f"answer: {self.proof.sentence}")
