"""Epochs over a foreign loader. Schedule, optimizers, layout and the way to stop are those of the library's training.

What the library's own loop needs beyond a loader (uint8 images by their index) a foreign one does not give; hence this.
"""

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

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
from shiftscope.training.plan import choose_plan
from shiftscope.training.plan import keep_memory
from shiftscope.training.stopping import StopFlag

Score = tuple[float, float]
"""Mean cross entropy (nats) and share of right answers, over all images of a pass."""


@contextmanager
def stoppable() -> Iterator[StopFlag]:
    """Let Ctrl-C and SIGTERM end the work between two steps, as `KeyboardInterrupt` and `SystemExit`.

    The state of torch's generators is afterwards what it was before.
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
    """Loss and right answers, summed on the device."""

    def __init__(self, device: torch.device):
        self.sums = torch.zeros(2, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
        self.count = 0

    def add(self, loss: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Count a batch: `loss` summed over its images."""
        with torch.no_grad():
            self.sums += torch.stack((loss, (first_maximum(outputs) == labels).sum())).to(self.sums)
        self.count += len(labels)

    def score(self) -> Score:
        """Return what was counted; the loss may be NaN."""
        loss, right = self.sums.tolist()
        return loss / max(self.count, 1), right / max(self.count, 1)


class Session:
    """One model in training: its optimizer, its memory layout, and the epoch that comes next."""

    def __init__(self, model: nn.Module, options: Options, source: Source):
        self.options, self.name = options, model_name(model)
        self.next_epoch = 0
        self._model = weakref.ref(model)  # sessions are kept by model, and must not keep it alive
        images, self.classes = try_model(model, source)
        self.optimizer = build_optimizer(model, options.settings)
        size = (int(images.shape[2]), int(images.shape[3]))
        few = torch.zeros(images.shape, dtype=torch.uint8, device=images.device)
        self.plan, self.notes = choose_plan(model, options.settings, few, Placement(image=size, canvas=size))

    def goes_on(self, model: nn.Module, options: Options) -> bool:
        """Return whether the model still has the parameters, and `args` the settings, that this session began with."""
        mine = [id(parameter) for group in self.optimizer.param_groups for parameter in group["params"]]
        theirs = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
        return options.settings == self.options.settings and sorted(mine) == sorted(theirs)

    @property
    def model(self) -> nn.Module:
        model = self._model()
        if model is None:
            raise UsageError("the model of this training is gone: keep a reference to it while it trains")
        return model

    @contextmanager
    def layout(self) -> Iterator[None]:
        """Keep the weights in the plan's memory layout meanwhile, and the model's train/eval mode afterwards."""
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
            epoch: 0 .. epochs - 1, the place in the learning rate's schedule.
            task: advanced by the batches done.

        Raises:
            TrainingError: the loss is not finite.
            Interrupted: asked to stop; what was trained stays in the model.
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
                                  "keeps what it has learned", stop.exit_code)
        self.next_epoch = epoch + 1
        return tally.score()

    def _step(self, images: torch.Tensor, labels: torch.Tensor, rate: float, tally: Tally) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        if self.plan.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        size = self.plan.micro_batch or len(labels)
        for some, theirs in zip(images.split(size), labels.split(size), strict=True):
            outputs = self.model(some)
            loss = F.cross_entropy(outputs, theirs, reduction="sum")  # right for logits and for log-probabilities
            (loss / len(labels)).backward()
            tally.add(loss, outputs, theirs)
        self.optimizer.step()

    def _check_finite(self, tally: Tally, epoch: int, step: int) -> None:
        if not math.isfinite(tally.score()[0]):
            peak = self.options.settings.learning_rate
            raise TrainingError(f"the loss of {self.name} is not finite in epoch {epoch + 1}, by batch {step + 1}: set "
                                f"MU.args.lr to a smaller number than {peak:.3g}, for instance {peak / 10:.1g}, and "
                                "build the model anew")


def score_epoch(model: nn.Module, source: Source, classes: int, task: Task, stop: StopFlag) -> Score:
    """Return mean loss and accuracy over every batch of `source`, the model in eval mode.

    Raises:
        Interrupted: asked to stop.
    """
    tally = Tally(device_and_dtype(model)[0])
    with evaluating(model):
        for step, (images, labels) in enumerate(source.batches(model, classes)):
            outputs = model(images)
            tally.add(F.cross_entropy(outputs, labels, reduction="sum"), outputs, labels)
            task.advance(1)
            if stop:
                raise Interrupted(f"{model_name(model)} stopped while tested, after batch {step + 1}",
                                  stop.exit_code)
    return tally.score()


def _report(task: Task, step: int, epoch: int, tally: Tally, log_interval: int) -> None:
    if step % log_interval:  # reading a sum makes a GPU wait
        task.advance(1)
    else:
        loss, accuracy = tally.score()
        task.advance(1, epoch=epoch + 1, loss=loss, accuracy=accuracy)


def try_model(model: nn.Module, source: Source) -> tuple[torch.Tensor, int]:
    """Return two images of `source` and the number of classes that the model tells apart.

    Raises:
        UsageError: the model does not fit the images or the class names.
    """
    images, labels = source.first(model, 2)
    outputs = ask(model, images, f"MU.imgsize and MU.{source.name}")
    check_outputs(model, outputs, labels, source)
    return images, outputs.shape[1]


def ask(model: nn.Module, images: torch.Tensor, origin: str) -> torch.Tensor:
    """Return the model's outputs in eval mode, or say that it was built for other images.

    Args:
        origin: the state that the images come from, to be set where they are wrong.
    """
    try:
        with evaluating(model):
            return model(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        shape = " x ".join(map(str, images.shape[1:]))
        raise UsageError(f"{model_name(model)} cannot take images of {shape} (channels, height, width): {error}; "
                         f"build the model for them, or set {origin} to what it was built for") from error


def check_outputs(model: nn.Module, outputs: torch.Tensor, labels: torch.Tensor, source: Source) -> None:
    """Raise a `UsageError` unless the outputs are one number a class for each image."""
    name = model_name(model)
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != len(labels):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UsageError(f"{name} must return a tensor (batch, classes), got {got} for {len(labels)} images")
    if source.class_names is not None and outputs.shape[1] != len(source.class_names):
        raise UsageError(f"{name} tells {outputs.shape[1]} classes apart, model_utils.class_names has "
                         f"{len(source.class_names)}: set MU.class_names to one name a class, or build the model for "
                         "as many")
    if int(labels.max()) >= outputs.shape[1]:
        raise UsageError(f"{name} tells {outputs.shape[1]} classes apart, but model_utils.{source.name} has the label "
                         f"{int(labels.max())}: build the model for all classes")
