"""Comparison of audits of foreign models with an independent reference."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

import shiftscope
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.placement import Placement

from . import reference
from .registry import Foreign

MODES = ("canvas", "circular", "crop")
COUNT = {"canvas": 6, "circular": 2, "crop": 6}
"""Images in each mode: few, because each is evaluated at all placements."""


@cache
def subject(model: Foreign, mode: str) -> tuple[Dataset, Placement]:
    """Return images and placements for a model: blobs of noise of different brightness."""
    size = tuple(n + more for n, more in zip(model.canvas, (4, 3), strict=True)) if mode == "crop" else model.image
    numbers, count = np.random.default_rng(7), COUNT[mode]
    images = numbers.integers(0, 256, (count, model.channels, *size)) * numbers.uniform(0.1, 1, (count, 1, 1, 1))
    both = TensorImages(torch.from_numpy(images.astype(np.uint8)), torch.arange(count) % model.classes)
    data = Dataset(name="noise", class_names=tuple(f"class {k}" for k in range(model.classes)), train=both, test=both,
                   source="-", license="-")
    return data, Placement(image=size, canvas=model.canvas, mode=mode)


@cache
def placed_images(model: Foreign, mode: str) -> np.ndarray:
    """Return uint8 (N, P, C, H, W), placed by the reference."""
    data, _ = subject(model, mode)
    return reference.canvases(data.test.images.numpy(), model.canvas, mode)


@dataclass(frozen=True)
class Expected:
    """Reference outputs (.., K), with labels and margins."""

    outputs: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return reference.predictions(self.outputs)

    @property
    def margins(self) -> np.ndarray:
        """The largest output less the second largest, as a fraction of the largest finite output."""
        if self.outputs.shape[-1] < 2:
            return np.full(self.outputs.shape[:-1], np.inf)
        top = np.sort(self.outputs, -1)[..., -2:]
        finite = np.abs(self.outputs[np.isfinite(self.outputs)])
        gap = np.subtract(top[..., 1], top[..., 0], out=np.zeros(top.shape[:-1]), where=top[..., 1] != top[..., 0])
        return np.where(self.labels < 0, np.inf, gap / (finite.max(initial=0.0) or 1.0))

    @property
    def exact_ties(self) -> int:
        return int((self.margins == 0).sum())

    def at(self, index: Any) -> "Expected":
        """Return the expectations for some rows."""
        return Expected(self.outputs[index])


@cache
def expected(model: Foreign, mode: str) -> Expected:
    """Return the bare model's outputs for all placements, in one batch."""
    every = placed_images(model, mode)
    return Expected(bare(model, every.reshape(-1, *every.shape[2:])).reshape(*every.shape[:2], -1))


def bare(model: Foreign, batch: np.ndarray) -> np.ndarray:
    """Return the outputs of a fresh model for one batch."""
    return reference.outputs(evaluated(model.build()), batch, model.dtype)


def evaluated(model: Any) -> Any:
    """Put a module into eval mode, if it has one."""
    try:
        return model.eval() if isinstance(model, nn.Module) else model
    except NotImplementedError:  # exported programs have a fixed mode
        return model


def undecided(model: Foreign, wanted: Expected) -> np.ndarray:
    """Return which predictions may depend on rounding: margins within the tolerance, except intended exact ties."""
    close = wanted.margins <= model.tolerance
    return close & (wanted.margins > 0) if model.exact else close


def compare(model: Foreign, found: np.ndarray, wanted: Expected) -> int:
    """Require equal labels except for near ties; return the number of near ties that differ."""
    labels, margins, close = wanted.labels, wanted.margins, undecided(model, wanted)
    wrong = (found != labels) & ~close
    assert not wrong.any(), (f"{wrong.sum()} of {labels.size} predictions differ, for instance {found[wrong][:5]}, "
                             f"expected {labels[wrong][:5]}, margins {margins[wrong][:5]}")
    assert close.mean() <= model.near, f"{close.mean():.1%} of the predictions are near ties"
    return int((found != labels).sum())


def audited(model: Foreign, subjected: Any, mode: str, engine: str) -> tuple[Any, np.ndarray]:
    """Return an audit and its labels (N, P), -1 if nonfinite."""
    data, placement = subject(model, mode)
    found = shiftscope.audit(subjected, data, placement=placement, engine=engine)
    labels = found.predictions.astype(np.int64)
    return found, np.where(labels == np.iinfo(found.predictions.dtype).max, reference.NONFINITE, labels)


def check_figures(found: Any, labels: np.ndarray, differing: int) -> None:
    """Compare the metrics with those of the reference labels; `differing` predictions may change them."""
    truth, (images, placements) = found.labels, labels.shape
    right, one = labels == truth[:, None], 2 * differing / labels.size + 1e-9
    shares = np.array([[(row == k).mean() for k in range(-1, len(found.class_names))] for row in labels])
    assert abs(found.mean_accuracy - right.mean()) <= one
    assert abs(found.consistency - (shares ** 2).sum(1).mean()) <= one
    whole = differing / images + 1e-9
    assert abs(found.worst_case_accuracy - right.all(1).mean()) <= whole
    assert abs(found.unanimity - (shares.max(1) == 1).mean()) <= whole
    assert np.abs(found.correct_counts - right.sum(1)).sum() <= differing and found.placements == placements


class Recorder(nn.Module):
    """Records the batches that a model gets, and its outputs."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        given = (pixels.double() * 255).round().to(torch.uint8).numpy().copy()
        found = self.model(pixels)
        self.calls.append((given, found.detach().double().numpy().copy()))
        return found

    def covering(self, every: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the last calls that together contain the images (B, C, H, W) in order.

        If the trial of batch sizes gave the first results, its calls are among others: then for each image the last
        call that contains it and the images after it in order.
        """
        last, calls, at = [], [], 0
        for given, found in self.calls:
            if not np.array_equal(given, every[at:at + len(given)]):
                calls, at = [], 0
            if np.array_equal(given, every[at:at + len(given)]):
                calls, at = [*calls, (given, found)], at + len(given)
            if at == len(every):
                last, calls, at = calls, [], 0
        return last or self.in_any_order(every)

    def in_any_order(self, every: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        found: list[tuple[np.ndarray, np.ndarray]] = []
        at = 0
        while at < len(every):
            fitting = [call for call in self.calls if np.array_equal(call[0], every[at:at + len(call[0])])]
            assert fitting, f"no call begins with image {at}"
            found.append(fitting[-1])
            at += len(fitting[-1][0])
        return found


def on_the_same_batches(model: Foreign, recorder: Recorder, every: np.ndarray) -> Expected:
    """Return what the bare model gives for the very batches that the audit used; what it gave then, where each call
    may differ."""
    calls = recorder.covering(every)
    parts = [found if model.kind == "changing" else bare(model, given) for given, found in calls]
    return Expected(np.concatenate(parts))
