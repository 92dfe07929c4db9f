"""A drop-in for the helper module that the course's notebooks were written against::

    import shiftscope.model_utils as MU
    from shiftscope.model_utils import (AttrDict, show, generate_image, train, test, evaluate_model,
                                        display_classified_images)

State is stored in this module's attributes. A notebook sets them (`MU.imgsize = (64, 64)`), and every function reads
them when it is called. For new work, use `shiftscope.train`, `shiftscope.visualize` and the rest of the library.
"""

import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope import data
from shiftscope.course import synthesis
from shiftscope.course.figures import Predicted, make_grid, prediction_gallery, rescale, to_colors, to_tensor
from shiftscope.course.loaders import PlacedImages, PlacedLoader, Source, check_imgsize
from shiftscope.course.options import DEFAULTS, AttrDict, Options, read_options
from shiftscope.course.training_loop import (
    EpochScores,
    History,
    Score,
    Session,
    outputs_of,
    score_epoch,
    stoppable,
    try_model,
)
from shiftscope.errors import require
from shiftscope.modules import model_name
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress, default_progress
from shiftscope.reporting.live_curves import LiveCurves, draw_in_cell

__all__ = ["AttrDict", "args", "class_names", "display_classified_images", "display_parameters", "evaluate_model",
           "generate_image", "imgsize", "load_fashion_mnist", "make_grid", "show", "test", "test_dataset",
           "test_loader", "train", "train_dataset", "train_loader", "use_cuda"]

use_cuda: bool = torch.cuda.is_available()
"""True: move batches to the model's device; models are never moved. Set at import, as notebooks expect."""

args: Any = AttrDict(DEFAULTS | {"cuda": use_cuda})
"""batch_size, test_batch_size, epochs, lr, momentum, optimizer (adamw, sgd), schedule (one-cycle, cosine, constant),
weight_decay, seed, log_interval, cuda. The defaults suit both nets of the course."""

imgsize: Sequence[int] = (56, 56)
"""(H, W) of the loaders' images."""

class_names: Sequence[str] | None = None
"""One name per class; None: classes are named by their numbers."""

train_dataset: Any = None
test_dataset: Any = None

train_loader: Any = None
"""Yields (images (B, C, H, W), labels (B,)) to train on: any DataLoader, gray or color, normalized or not."""

test_loader: Any = None
"""The same, to test on."""

_GALLERY = 20
_sessions: weakref.WeakKeyDictionary[nn.Module, Session] = weakref.WeakKeyDictionary()
"""The session of each model that `train` was called with, for its next epoch."""


# ---------------------------------------------------------------------- data


def load_fashion_mnist(data_dir: Path | str | None = None, imgsize: Sequence[int] = (56, 56)) -> None:
    """Set datasets, loaders, class names and image size to Fashion-MNIST on canvases.

    `train_dataset[i]` is (tensor (1, H, W), int), at a new random position in each access, normalized as in the
    course. Each test image keeps one position, so that all models are tested on the same images.

    Args:
        data_dir: folder of the files; else SHIFTSCOPE_DATA_DIR, else the user's cache folder (with download).
        imgsize: (H, W) of the canvases, at least 28 x 28.

    Raises:
        UsageError: if the canvas is too small.
        DataError: if files are missing or damaged.
    """
    check_imgsize(imgsize)
    height, width = imgsize
    placement = Placement(image=(28, 28), canvas=(height, width))
    images = data.load_fashion_mnist(data_dir, default_progress())
    moving, fixed = PlacedImages(images.train, placement), PlacedImages(images.test, placement, moving=False)
    globals().update(
        imgsize=(height, width), class_names=list(images.class_names), train_dataset=moving, test_dataset=fixed,
        train_loader=PlacedLoader(moving, lambda: read_options(args).batch_size, shuffle=True),
        test_loader=PlacedLoader(fixed, lambda: read_options(args).test_batch_size, shuffle=False))


# ---------------------------------------------------------------------- state, read at each call


@dataclass(frozen=True)
class _State:
    options: Options
    move: bool

    def source(self, name: str) -> Source:
        """Return `train_loader` or `test_loader` with the settings for its batches."""
        check_imgsize(imgsize)
        return Source(loader=globals()[name], name=name, imgsize=(imgsize[0], imgsize[1]), class_names=class_names,
                      move=self.move)


def _state() -> _State:
    options = read_options(args)
    return _State(options, bool(use_cuda) or options.cuda)


def _names(classes: int) -> Sequence[str]:
    return class_names if class_names is not None else [f"class {number}" for number in range(classes)]


def display_parameters() -> None:
    """Print settings, sizes, classes and loaders."""
    options = read_options(args)
    settings = options.settings
    lines: dict[str, object] = {
        "use_cuda": use_cuda, "imgsize": imgsize,
        "class_names": "not set" if class_names is None else ", ".join(map(str, class_names)),
        **{name: "not set" if globals()[name] is None else f"{type(globals()[name]).__name__} of {_size(name)}"
           for name in ("train_dataset", "test_dataset", "train_loader", "test_loader")},
        "args.batch_size": options.batch_size, "args.test_batch_size": options.test_batch_size,
        "args.epochs": settings.epochs, "args.lr": settings.learning_rate, "args.momentum": settings.momentum,
        "args.optimizer": settings.optimizer, "args.schedule": settings.schedule,
        "args.weight_decay": settings.weight_decay, "args.seed": settings.seed,
        "args.log_interval": options.log_interval, "args.cuda": options.cuda}
    widest = max(map(len, lines))
    sys.stdout.write("".join(f"{name:<{widest}}  {value}\n" for name, value in lines.items()))


def _size(name: str) -> str:
    unit = "batches" if name.endswith("loader") else "images"
    return f"{len(globals()[name]):,} {unit}" if hasattr(globals()[name], "__len__") else f"unknown number of {unit}"


# ---------------------------------------------------------------------- training and testing


def evaluate_model(model: nn.Module) -> History:
    """Train for `args.epochs`, test after each epoch, and show progress, curves, times and a gallery.

    The same seed, loaders and weights give the same history, unless the loaders use other random sources. Ctrl-C (or
    the notebook's stop button) stops between two batches; the model keeps its weights.

    Args:
        model: returns logits or log-probabilities (B, K); trained in place, on the device where it is.

    Returns:
        One entry per completed epoch: epoch, train_loss, train_accuracy, test_loss, test_accuracy, seconds.

    Raises:
        UsageError, DataError: if an attribute is missing or does not fit; the message names it.
        TrainingError: if the loss is not finite.
    """
    state = _state()
    train_source, test_source = state.source("train_loader"), state.source("test_loader")
    epochs = state.options.settings.epochs
    history, progress = History(), default_progress()
    chart = LiveCurves(model_name(model), epochs, "test")
    try:
        with stoppable() as stop:
            torch.manual_seed(state.options.settings.seed)
            session = _sessions[model] = Session(model, state.options, train_source)
            task = progress.task(model_name(model), epochs * (len(train_source) + len(test_source)), "batches")
            try:
                with session.layout():
                    for epoch in range(epochs):
                        begun = time.perf_counter()
                        trained = session.train_epoch(train_source, epoch, task, stop)
                        seconds = time.perf_counter() - begun
                        tested = score_epoch(model, test_source, session.classes, task, stop)
                        history.append(_line(epoch, trained, tested, seconds))
                        task.advance(0, test_accuracy=tested[1])
                        chart.update(history, sum(line["seconds"] for line in history))
            finally:
                task.close()
                chart.close()
    except KeyboardInterrupt as interrupt:
        progress.note(f"{str(interrupt) or 'Interrupted'}; the history holds {len(history)} of {epochs} epochs")
    if history:
        display_classified_images(model)
    return history


def _line(epoch: int, trained: Score, tested: Score, seconds: float) -> EpochScores:
    return EpochScores(epoch=epoch + 1, train_loss=trained[0], train_accuracy=trained[1], test_loss=tested[0],
                       test_accuracy=tested[1], seconds=seconds)


def train(model: nn.Module, epoch: int | None = None) -> tuple[float, float]:
    """Train for one epoch on `train_loader`.

    Args:
        model: trained in place, on the device where it is.
        epoch: 1 starts again with a new optimizer; None: the next epoch. After `args.epochs` epochs the
            learning-rate schedule starts again.

    Returns:
        (mean loss, accuracy from 0 to 1), running means with dropout active.

    Raises:
        UsageError, DataError, TrainingError: as `evaluate_model`.
        KeyboardInterrupt: if a stop was requested.
    """
    require(epoch is None or (isinstance(epoch, int) and epoch >= 0), "epoch", epoch, "an integer from 1, or None")
    state = _state()
    source = state.source("train_loader")
    with stoppable() as stop:
        torch.manual_seed(state.options.settings.seed)
        session = _sessions.get(model)
        position = max(epoch - 1, 0) if epoch is not None else session.next_epoch if session is not None else 0
        position %= state.options.settings.epochs
        if session is None or position == 0 or not session.goes_on(model, state.options):
            session = _sessions[model] = Session(model, state.options, source)
        task = default_progress().task(f"train {model_name(model)}", len(source), "batches")
        try:
            with session.layout():
                return session.train_epoch(source, position, task, stop)
        finally:
            task.close()


def test(model: nn.Module) -> tuple[float, float]:
    """Test on `test_loader`; the model's train/eval mode is restored.

    Returns:
        (mean loss, accuracy from 0 to 1).

    Raises:
        UsageError, DataError: as `evaluate_model`.
        KeyboardInterrupt: if a stop was requested.
    """
    source = _state().source("test_loader")
    with stoppable() as stop:
        _, classes = try_model(model, source)
        task = default_progress().task(f"test {model_name(model)}", len(source), "batches")
        try:
            return score_epoch(model, source, classes, task, stop)
        finally:
            task.close()


test.__test__ = False  # pyright: ignore[reportFunctionMemberAccess]  # it is not a pytest test


# ---------------------------------------------------------------------- images


def display_classified_images(model: nn.Module, n: int = _GALLERY) -> None:
    """Show the first `n` images of `test_loader` with true and predicted class; errors are marked.

    Under Agg, and outside of a notebook, nothing is shown.

    Raises:
        UsageError, DataError: as `evaluate_model`.
    """
    require(isinstance(n, int) and n >= 1, "n", n, "an integer of at least 1")
    source = _state().source("test_loader")
    with torch.random.fork_rng():
        _, classes = try_model(model, source)
        images, labels = source.first(model, n)
        predicted = Predicted(images, labels, outputs_of(model, images, "MU.test_loader"))
    draw_in_cell(lambda: prediction_gallery(model_name(model), predicted, _names(classes)))


def show(image: Any) -> None:
    """Draw an image into pyplot's current axes, rescaled by its own minimum and maximum.

    It may be a tensor (C, H, W) or (H, W), or an array that `generate_image` returns.
    """
    import matplotlib.pyplot as plt

    axes = plt.gca()
    axes.imshow(to_colors(rescale(to_tensor(image))), interpolation="nearest")
    axes.set_axis_off()


def generate_image(model: nn.Module, mode: str = "class", target_class: int | None = None,
                   target_operator: nn.Module | None = None, target_neuron: int | tuple[int, ...] | None = None,
                   seed: Any = "zero", verbose: bool = False) -> np.ndarray:
    """Return an image that maximally activates a class or a neuron, by gradient ascent.

    Args:
        model: takes images of the loader.
        mode: "class" or "neuron".
        target_class: the class to maximize, for mode "class".
        target_operator: any submodule of the model, for mode "neuron".
        target_neuron: index into the submodule's output without the batch axis: (i,), or (channel, row, column).
        seed: start of the ascent: "zero" (uniform gray for the first layer, an empty canvas for all others),
            "random", or an image (H, W) or (H, W, 3) as returned.
        verbose: show the progress.

    Returns:
        float32 (H, W), or (H, W, 3) for color, in the loader's units.

    Raises:
        UsageError: for an unknown mode or class, a submodule of another model, or a neuron out of range.

    Example:
        >>> generate_image(nn.Sequential(nn.Flatten(), nn.Linear(56 * 56, 10)), target_class=3).shape
        (56, 56)
    """
    check_imgsize(imgsize)
    name = next((name for name in ("train_loader", "test_loader") if globals()[name] is not None), None)
    progress = default_progress() if verbose else SilentProgress()
    with torch.random.fork_rng():
        sample = next(_state().source(name).batches(model))[0] if name is not None else None
        return synthesis.generate(
            model, sample, (imgsize[0], imgsize[1]), mode=mode, target_class=target_class, operator=target_operator,
            neuron=target_neuron, seed=seed, progress=progress)
