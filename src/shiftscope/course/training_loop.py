"""Epochs over any loader. Schedules, optimizers, memory layout and stop flag are those of `shiftscope.training`.

The loop of `shiftscope.training` needs uint8 images by index, which other loaders do not provide.
"""

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope import hashing
from shiftscope.course.loaders import Source
from shiftscope.course.options import Options
from shiftscope.errors import Interrupted, TrainingError, UsageError
from shiftscope.generators import seed_generators
from shiftscope.hashing import Stream
from shiftscope.models.forward import device_and_dtype, evaluating
from shiftscope.modules import model_name
from shiftscope.outputs import first_maximum
from shiftscope.placement import Placement
from shiftscope.progress import Task
from shiftscope.training.optimization import build_optimizer, learning_rate
from shiftscope.training.plan import choose_plan, keep_memory
from shiftscope.training.stopping import StopFlag

Score = tuple[float, float]
"""Mean cross entropy (nats) and accuracy over all images of a pass."""


@contextmanager
def stoppable() -> Iterator[StopFlag]:
    """Let Ctrl-C and SIGTERM end the work between two steps, as `KeyboardInterrupt` and `SystemExit`.

    The state of torch's generators is restored.
    """
    try:
        with torch.random.fork_rng(), StopFlag().listening() as stop:
            yield stop
            if stop:
                raise Interrupted("Interrupted", stop.exit_code)
    except Interrupted as error:
        if error.exit_code == 143:
            raise SystemExit(error.exit_code) from error
        raise KeyboardInterrupt(str(error)) from error


class Tally:
    """Loss and correct predictions, summed on the device."""

    def __init__(self, device: torch.device):
        self.sums = torch.zeros(2, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
        self.count = 0

    def add(self, loss: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch; `loss` is summed over its images."""
        with torch.no_grad():
            self.sums += torch.stack((loss, (first_maximum(outputs) == labels).sum())).to(self.sums)
        self.count += len(labels)

    def score(self) -> Score:
        """Return mean loss and accuracy; the loss may be NaN."""
        loss, correct = self.sums.tolist()
        return loss / max(self.count, 1), correct / max(self.count, 1)


class Session:
    """The training of one model: optimizer, memory layout, next epoch."""

    def __init__(self, model: nn.Module, options: Options, source: Source):
        self.options, self.name = options, model_name(model)
        self.next_epoch = 0
        self._model = weakref.ref(model)  # sessions are stored by model and must not keep it alive
        images, self.classes = try_model(model, source)
        self.optimizer = build_optimizer(model, options.settings)
        size = (int(images.shape[2]), int(images.shape[3]))
        few = torch.zeros(images.shape, dtype=torch.uint8, device=images.device)
        self.plan, self.notes = choose_plan(model, options.settings, few, Placement(image=size, canvas=size))

    def goes_on(self, model: nn.Module, options: Options) -> bool:
        """Return True if model parameters and `args` settings are those of the start of this session."""
        own = [id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]]
        current = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
        return options.settings == self.options.settings and sorted(own) == sorted(current)

    @property
    def model(self) -> nn.Module:
        model = self._model()
        if model is None:
            raise UsageError("the model of this training was deleted: keep a reference to it while it trains")
        return model

    @contextmanager
    def layout(self) -> Iterator[None]:
        """Use the plan's memory layout within the block; restore train/eval mode afterwards."""
        was_training = self.model.training
        if self.plan.channels_last:
            self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        try:
            yield
        finally:
            self.model.train(was_training)
            if self.plan.channels_last:
                self.model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]

    def train_epoch(self, source: Source, epoch: int, task: Task, stop: StopFlag) -> Score:
        """Train on every batch of `source` once.

        Args:
            epoch: 0 .. epochs - 1, the position in the learning-rate schedule.
            task: advanced by the number of batches.

        Raises:
            TrainingError: if the loss is not finite.
            Interrupted: if a stop was requested; the model keeps its weights.
        """
        keep_memory()
        settings, steps = self.options.settings, len(source)
        device, _ = device_and_dtype(self.model)
        tally = Tally(device)
        torch.manual_seed(hashing.stream(Stream.NOTEBOOK_STEP, settings.seed, epoch))  # the order of a shuffling loader
        self.model.train()
        for step, (images, labels) in enumerate(source.batches(self.model, self.classes)):
            position = epoch * steps + step
            rate = learning_rate(position, settings.epochs * steps, settings.learning_rate, settings.schedule)
            seed_generators(device, hashing.stream(Stream.NOTEBOOK_STEP, settings.seed, epoch, step))
            self._step(images, labels, rate, tally)
            if step % self.options.log_interval == 0 or step + 1 == steps or tally.sums.device.type == "cpu":
                self._check_finite(tally, epoch, step)
            _report(task, step, epoch, tally, self.options.log_interval)
            if stop:
                raise Interrupted(f"{self.name} stopped in epoch {epoch + 1}, after batch {step + 1} of {steps}; it "
                                  "keeps its weights", stop.exit_code)
        self.next_epoch = epoch + 1
        return tally.score()

    def _step(self, images: torch.Tensor, labels: torch.Tensor, rate: float, tally: Tally) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        if self.plan.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        size = self.plan.micro_batch or len(labels)
        for part, part_labels in zip(images.split(size), labels.split(size), strict=True):
            outputs = self.model(part)
            loss = F.cross_entropy(outputs, part_labels, reduction="sum")  # of logits or log-probabilities
            (loss / len(labels)).backward()
            tally.add(loss, outputs, part_labels)
        self.optimizer.step()

    def _check_finite(self, tally: Tally, epoch: int, step: int) -> None:
        if not math.isfinite(tally.score()[0]):
            peak = self.options.settings.learning_rate
            raise TrainingError(f"the loss of {self.name} is not finite in epoch {epoch + 1}, at batch {step + 1}: set "
                                f"MU.args.lr to a smaller number than {peak:.3g}, for instance {peak / 10:.1g}, and "
                                "build the model again")


def score_epoch(model: nn.Module, source: Source, classes: int, task: Task, stop: StopFlag) -> Score:
    """Return mean loss and accuracy over every batch of `source`, the model in eval mode.

    Raises:
        Interrupted: if a stop was requested.
    """
    tally = Tally(device_and_dtype(model)[0])
    with evaluating(model):
        for step, (images, labels) in enumerate(source.batches(model, classes)):
            outputs = model(images)
            tally.add(F.cross_entropy(outputs, labels, reduction="sum"), outputs, labels)
            task.advance(1)
            if stop:
                raise Interrupted(f"{model_name(model)} stopped during the test, after batch {step + 1}",
                                  stop.exit_code)
    return tally.score()


def _report(task: Task, step: int, epoch: int, tally: Tally, log_interval: int) -> None:
    if step % log_interval:  # reading a sum waits for the GPU
        task.advance(1)
    else:
        loss, accuracy = tally.score()
        task.advance(1, epoch=epoch + 1, loss=loss, accuracy=accuracy)


def try_model(model: nn.Module, source: Source) -> tuple[torch.Tensor, int]:
    """Return two images of `source` and the number of the model's classes.

    Raises:
        UsageError: if the model does not fit the images or the class names.
    """
    images, labels = source.first(model, 2)
    outputs = outputs_of(model, images, f"MU.imgsize and MU.{source.name}")
    check_outputs(model, outputs, labels, source)
    return images, outputs.shape[1]


def outputs_of(model: nn.Module, images: torch.Tensor, origin: str) -> torch.Tensor:
    """Return the model's outputs in eval mode.

    Args:
        origin: the attribute that determines the images, for the error message.

    Raises:
        UsageError: if the model was built for other images.
    """
    try:
        with evaluating(model):
            return model(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        shape = " x ".join(map(str, images.shape[1:]))
        raise UsageError(f"{model_name(model)} cannot take images of {shape} (channels, height, width): {error}; "
                         f"build the model for them, or set {origin} to the size it was built for") from error


def check_outputs(model: nn.Module, outputs: torch.Tensor, labels: torch.Tensor, source: Source) -> None:
    """Raise a `UsageError` unless the outputs are (images, classes) and fit labels and class names."""
    name = model_name(model)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(labels):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UsageError(f"{name} must return a tensor (batch, classes), got {got} for {len(labels)} images")
    if source.class_names is not None and outputs.shape[1] != len(source.class_names):
        raise UsageError(f"{name} has {outputs.shape[1]} outputs, model_utils.class_names has "
                         f"{len(source.class_names)} names: set MU.class_names to one name per class, or build the "
                         "model for as many classes")
    if int(labels.max()) >= outputs.shape[1]:
        raise UsageError(f"{name} has {outputs.shape[1]} outputs, but model_utils.{source.name} has the label "
                         f"{int(labels.max())}: build the model for all classes")


class EpochScores(TypedDict):
    """One epoch: mean cross entropy (nats), accuracies from 0 to 1, `seconds` of training only."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


class History(list[EpochScores]):
    """A list of epochs that is displayed as a table.

    >>> History([EpochScores(epoch=1, train_loss=1.0, train_accuracy=0.5, test_loss=0.9, test_accuracy=0.6,
    ...                      seconds=2.0)])
    epoch  train loss  train accuracy  test loss  test accuracy  seconds
        1       1.000          50.0 %      0.900         60.0 %      2.0
    """

    def __repr__(self) -> str:
        heads = ["epoch", "train loss", "train accuracy", "test loss", "test accuracy", "seconds"]
        rows = [[str(line["epoch"]), f"{line['train_loss']:.3f}", f"{100 * line['train_accuracy']:.1f} %",
                 f"{line['test_loss']:.3f}", f"{100 * line['test_accuracy']:.1f} %", f"{line['seconds']:.1f}"]
                for line in self]
        return "\n".join("  ".join(cell.rjust(len(head)) for head, cell in zip(heads, row, strict=True))
                         for row in [heads, *rows])
