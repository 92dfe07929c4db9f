"""Images in a temporary file: more of them than memory should hold, each decoded and resized once."""

import os
import tempfile
from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from shiftscope.data.base import ImageSet
from shiftscope.data.packed import HostImages
from shiftscope.errors import OutputError
from shiftscope.files import reason


class SpooledImages:
    """Images in a file without a name, which the operating system removes when the process ends, however it ends.

    Images are appended in order; then `gather` reads those of a batch.

    Args:
        shape: (C, h, w) of the images that are appended.

    Raises:
        OutputError: if there is no folder for temporary files.

    Example:
        >>> images = SpooledImages((1, 2, 2))
        >>> images.append(np.full((1, 2, 2), 7, dtype=np.uint8))
        >>> images.finish(torch.tensor([0]), ["cat.png"], channels=1)
        >>> images.gather(torch.tensor([0, 0])).shape
        torch.Size([2, 1, 2, 2])
    """

    def __init__(self, shape: tuple[int, int, int]):
        self._stored, self._channels, self.names = shape, shape[0], None
        self.labels = torch.empty(0, dtype=torch.int64)
        try:
            self._file = tempfile.TemporaryFile(prefix="shiftscope-")  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"cannot store prepared images in the folder for temporary files: {reason(error)}; set "
                              "TMPDIR to a folder that can be written") from error

    def append(self, image: np.ndarray) -> None:
        """Append an image, uint8 (C, h, w).

        Raises:
            OutputError: if the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(image).data)
        except OSError as error:
            raise self._full(error) from error

    def finish(self, labels: torch.Tensor, names: Sequence[str] | None, channels: int) -> None:
        """End appending: set labels (int64 (N,)), names, and the number of channels, the first of those stored.

        Raises:
            OutputError: if the disk is full.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise self._full(error) from error
        self.labels, self.names, self._channels = labels, names, channels

    def _full(self, error: OSError) -> OutputError:
        return OutputError(f"cannot store prepared images in {tempfile.gettempdir()}: {reason(error)}; free some "
                           "space, set TMPDIR to a folder on another disk, or use smaller images")

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self._channels, *self._stored[1:])

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        images, size = np.empty((len(indices), *self.shape), dtype=np.uint8), prod(self._stored)
        for image, index in zip(images, indices.tolist(), strict=True):
            image[:] = np.frombuffer(self._read(size, index * size), np.uint8).reshape(self._stored)[:self._channels]
        return torch.from_numpy(images)

    def _read(self, size: int, start: int) -> bytes:
        if hasattr(os, "pread"):  # keeps no position, which forked processes would share
            return os.pread(self._file.fileno(), size, start)
        self._file.seek(start)
        return self._file.read(size)

    def to(self, device: torch.device | str) -> ImageSet:
        """Return the same images; those of a batch are copied to `device`."""
        device = torch.device(device)
        return self if device.type == "cpu" else HostImages(self, device)
