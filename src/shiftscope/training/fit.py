"""The training loop."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope import hashing
from shiftscope.data.base import Dataset
from shiftscope.data.streamed import StreamedImages
from shiftscope.devices import tf32
from shiftscope.distributed import from_first, group, together, total
from shiftscope.errors import Interrupted, TrainingError
from shiftscope.evaluation.predictions import predict
from shiftscope.files import plain
from shiftscope.generators import seed_all, seeded
from shiftscope.hashing import Stream
from shiftscope.hooks import memory_format
from shiftscope.models.adapt import Normalization, adapt, title_of
from shiftscope.models.checkpoint import Provenance, save
from shiftscope.models.forward import check_model, device_and_dtype, single_view
from shiftscope.models.registry import count_parameters
from shiftscope.modules import Classifier, as_module, preserve_modes, reports_model_errors, set_mode
from shiftscope.outputs import first_maximum
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import NotebookProgress, Progress, SilentProgress, Task, chosen_progress, duration
from shiftscope.results import EpochRecord, TrainResult
from shiftscope.settings import TrainSettings
from shiftscope.training.augment import random_erase, random_mirror, small_placement
from shiftscope.training.batches import IndexedBatches, StreamedBatches
from shiftscope.training.checks import check_train_mode, prepare
from shiftscope.training.optimization import build_optimizer, learning_rate
from shiftscope.training.parallel import ParallelModel
from shiftscope.training.plan import Plan, choose_plan, keep_memory, micro_batches, planned_outputs
from shiftscope.training.state import TrainingState, check_identity, load_state, restore_state, save_state
from shiftscope.training.stopping import Clock, StopFlag
from shiftscope.training.trial import tried_plan

_VALIDATION_SEED = 0
_READ_EVERY = 10  # steps between two reads of the loss on a GPU, which each wait for the device
_STOPPED_ELSEWHERE = 130  # exit code if another process of the group received the signal


@together("folder", "progress", "on_epoch", "stop")
@reports_model_errors
def train(model: Classifier, data: Dataset, *, placement: Placement | None = None,
          settings: TrainSettings | None = None, name: str | None = None, folder: Path | str | None = None,
          resume: bool = False, normalize: Normalization | None = None,
          preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, progress: Progress | bool | None = True,
          on_epoch: Callable[[EpochRecord], None] | None = None, stop: StopFlag | None = None) -> TrainResult:
    """Train `model` on images at random positions, new ones in each epoch.

    With the same settings, threads and device, a seed gives bit-identical results, also through any number of
    interruptions. A long training of a convnet on a CPU first measures which micro-batches are fastest (see
    `settings.plan` of the result). The choice is stored in the user's cache folder; a resumed training keeps its own.

    With `settings.max_time`, training pauses after the step in which the time is up. At least one step is done, the
    state is saved as after Ctrl-C, and the result has fewer epochs and a note.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns logits or log-probabilities (B, K). If it returns several
            outputs in train mode, the first (B, K) is trained. It is trained in place, on its device; train/eval mode
            and memory layout are restored.
        data: the dataset; it is kept on the model's device as uint8 if it fits.
        placement: where images may be placed; default: a canvas of 56 x 56, or twice the image if that is larger.
        settings: open fields are taken from the model's recipe.
        name: the model's name in tables and for its recipe (default: its name in the registry).
        folder: where to save a checkpoint and the training state, after every epoch and when stopped; None: nowhere.
        resume: continue from the state in `folder`, if there is one.
        normalize: (mean, std), for a model that expects normalized pixels.
        preprocess: another function of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.
        progress: True: show a bar on a terminal, a line and live curves in a notebook, and nothing elsewhere, for
            instance in a pipe; False or None: show nothing. Or an object that receives progress and notes, such as
            `default_progress()`, which also writes lines to a pipe.
        on_epoch: called with each epoch's record before the state is saved, see `shiftscope.callbacks`.
        stop: checked between steps; SIGINT and SIGTERM set it during the training.

    Returns:
        Training history, settings and notes.

    Raises:
        UsageError: if the model does not fit the data, or the settings differ from those of the resumed training.
        TrainingError: if the loss is not finite.
        Interrupted: if a stop was requested; the state is saved in `folder` and stays in `model`.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(50, 1, 28, 28, dtype=torch.uint8), torch.arange(50) % 2)
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", license="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(56 * 56, 2))
        >>> train(model, data, settings=TrainSettings(epochs=2)).epochs
        2
    """
    name, settings = name or title_of(model), settings or TrainSettings()
    placement = placement or default_placement(data.shape)
    with seeded([device_and_dtype(as_module(model))[0]], settings.seed):
        prepared = prepare(adapt(model, normalize=normalize, preprocess=preprocess), (data.shape[0], *placement.canvas),
                           settings.seed)
        training = _Training(prepared, data, placement, settings, name, Path(folder) if folder is not None else None,
                             chosen_progress(progress) if group().first else SilentProgress())
        with (stop if stop is not None else StopFlag()).listening() as flag:
            return training.run(resume, on_epoch, flag)


class _Training:
    """One training. Attributes are fixed except for `state`, the model and the optimizer."""

    def __init__(self, model: nn.Module, data: Dataset, placement: Placement, settings: TrainSettings,
                 name: str, folder: Path | None, progress: Progress):
        self.model, self.data, self.placement, self.folder, self.progress = model, data, placement, folder, progress
        self.name = name
        self.settings = settings.resolve(self.name, data.name)
        self.device, _ = device_and_dtype(model)
        data.require_training("training")
        train_images, self.validation = data.split(settings.validation)
        self.batches = (StreamedBatches(train_images, self.device) if isinstance(train_images, StreamedImages)
                        else IndexedBatches(train_images, self.device))
        self.sample, _ = self.batches.first(2)
        check_model(model, self.sample, placement, data.classes)
        self.optimizer = build_optimizer(model, self.settings)
        self.plan, self.notes = from_first(lambda: choose_plan(model, self.settings, self.sample, placement))
        self.notes += check_train_mode(model, self.sample, placement, len(self.batches), self.settings.batch_size)
        self.uncounted = torch.zeros(3, dtype=torch.float64, device=self.device)  # not yet in the state's sums
        self.state = TrainingState(sums=torch.zeros_like(self.uncounted))
        self.epochs = self.settings.epochs
        self.steps = -(-len(self.batches) // self.settings.batch_size)
        self.trained = "centered" if placement.count == 1 else "random"
        self.small = small_placement(placement) if self.settings.small_canvas else placement
        if self.small != placement:
            check_model(model, self.sample, self.small, data.classes)
        self.clock = Clock(self.settings.max_time)

    # ------------------------------------------------------------------ the loop

    def run(self, resume: bool, on_epoch: Callable[[EpochRecord], None] | None, stop: StopFlag) -> TrainResult:
        keep_memory()
        restored = resume and self._restore()
        with preserve_modes(self.model), memory_format(self.model, channels_last=self.plan.channels_last):
            if not restored and self.settings.micro_batch is None:
                self._try_plan()
            self.parallel = ParallelModel(self.model, self.plan, self.settings.batch_size, self.sample, self.placement)
            with self.parallel.without_stride_warning(), self._arithmetic():
                self._epochs(on_epoch, stop)
            self._save_checkpoint()
        return self._result()

    def _arithmetic(self) -> AbstractContextManager[None]:
        return tf32(allowed=True) if self.plan.precision == "tf32" else nullcontext()

    def _try_plan(self) -> None:
        images, labels = self.batches.first(self.settings.batch_size)
        first = torch.arange(len(labels), device=self.device)
        offsets = self.placement.sample(first, seed=self.settings.seed)

        def one_batch(model: nn.Module, plan: Plan) -> None:
            for rows in micro_batches(len(first), plan.micro_batch):
                outputs = planned_outputs(model, images[rows], offsets[rows], self.placement, plan)
                F.cross_entropy(outputs, labels[rows]).backward()

        shape = (images.shape[1], *self.placement.canvas)
        self.plan, note = from_first(lambda: tried_plan(self.model, self.plan, len(first), self.epochs * self.steps,
                                                        shape, one_batch))
        if note is not None:
            self.notes.append(note)

    def _epochs(self, on_epoch: Callable[[EpochRecord], None] | None, stop: StopFlag) -> None:
        done = self.state.epoch * len(self.batches) + self.state.step * self.settings.batch_size
        task = self.progress.task(f"train {self.name}", self.epochs * len(self.batches), done=done)
        curves = self.progress.curves(self.name, self.epochs) if isinstance(self.progress, NotebookProgress) else None
        try:
            while self.state.epoch < self.epochs:
                if self._epoch(task, stop):
                    self._finish_epoch(task, on_epoch)
                    if curves is not None:
                        curves.update(self.state.history, self.state.seconds)
                if self.state.epoch < self.epochs and self.parallel.any_process(self.clock.is_up())[0]:
                    self._pause()
                    break
        finally:
            task.close()
            if curves is not None:
                curves.close()

    def _epoch(self, task: Task, stop: StopFlag) -> bool:
        """Do the remaining steps of the epoch; return True if they were completed before the time was up."""
        state, seed = self.state, self.settings.seed
        order = self.batches.begin(seed, state.epoch)
        small = state.epoch < int(self.settings.small_canvas * self.epochs)
        self.epoch_placement = self.small if small else self.placement
        offsets = self.epoch_placement.sample(order, seed=seed, epoch=state.epoch)
        steps = torch.arange(state.epoch * self.steps, (state.epoch + 1) * self.steps)
        self.seeds = hashing.mix(steps ^ hashing.stream(Stream.DROPOUT, seed)).tolist()
        set_mode(self.model, train=True)
        begun, unreported = time.perf_counter(), 0
        while state.step < self.steps:
            first = state.step * self.settings.batch_size
            batch = slice(first, first + self.settings.batch_size)
            following = order[batch.stop:batch.stop + self.settings.batch_size]
            self.batches.prefetch(following[self.parallel.part(len(following)).rows])
            self._step(order[batch], offsets[batch])
            state.step += 1
            unreported += len(order[batch])
            stopped, time_is_up = bool(stop), self.clock.is_up()
            alone, on_gpu = self.parallel.group.size == 1, self.device.type != "cpu"
            due = not on_gpu or state.step % _READ_EVERY == 0 or state.step == self.steps
            if due or (alone and (stopped or time_is_up)):
                stopped, time_is_up = self._sum_over_group(stopped, time_is_up)
                self._check_finite()
            elif not alone:  # all processes stop together, after a step at which they exchange flags
                stopped = time_is_up = False
            if due and (on_gpu or state.step % _READ_EVERY == 1):
                task.advance(unreported, epoch=state.epoch + 1, **self._running())
                unreported = 0
            if stopped:
                state.seconds += time.perf_counter() - begun
                self._interrupt(stop)
            if time_is_up:
                break
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        state.seconds += time.perf_counter() - begun
        task.advance(unreported, **self._running())
        return state.step == self.steps

    def _step(self, indices: torch.Tensor, offsets: torch.Tensor) -> None:
        """One optimizer step; the gradient is summed over micro-batches."""
        state, settings = self.state, self.settings
        position = state.epoch * self.steps + state.step
        rate = learning_rate(position, self.epochs * self.steps, settings.learning_rate, settings.schedule)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        part = self.parallel.part(len(indices))
        images, labels = self.batches.read(indices, part.rows)
        images, offsets = self._augmented(images, indices[part.rows]), offsets[part.rows]
        seed_all([self.device], self.parallel.dropout_seed(self.seeds[state.step]))
        self.optimizer.zero_grad(set_to_none=True)
        slices = micro_batches(len(labels), self.plan.micro_batch)
        for rows in slices:
            with self.parallel.gradient_sync(last=rows is slices[-1]):
                self._forward_backward(images[rows], labels[rows], offsets[rows], len(indices), part.weight)
        self.optimizer.step()

    def _augmented(self, images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        seed, epoch = self.settings.seed, self.state.epoch
        if self.settings.mirror:
            images = random_mirror(images, indices, seed=seed, epoch=epoch)
        if self.settings.erase:
            images = random_erase(images, indices, fraction=self.settings.erase, seed=seed, epoch=epoch)
        return images

    def _forward_backward(self, images: torch.Tensor, labels: torch.Tensor, offsets: torch.Tensor, batch: int,
                          weight: float) -> None:
        outputs = self.parallel.outputs(images, offsets, self.epoch_placement, self.plan)
        loss = F.cross_entropy(outputs, labels, reduction="sum", label_smoothing=self.settings.label_smoothing)
        (loss * (weight / batch)).backward()
        with torch.no_grad():
            if weight:
                correct = (first_maximum(outputs) == labels).sum()
                self.uncounted += torch.stack((loss.double(), correct.double(), loss.new_tensor(len(labels)).double()))

    # ------------------------------------------------------------------ between steps

    def _sum_over_group(self, stopped: bool, time_is_up: bool) -> list[bool]:
        """Add the counts of all processes to the epoch's sums; return both flags as true in any process."""
        self.state.sums += total(self.uncounted)
        self.uncounted.zero_()
        return self.parallel.any_process(stopped, time_is_up) if self.parallel.group.size > 1 else [stopped, time_is_up]

    def _running(self) -> dict[str, float]:
        loss, correct, count = self.state.sums.tolist()
        return {"loss": loss / max(count, 1), "accuracy": correct / max(count, 1)}

    def _check_finite(self) -> None:
        if math.isfinite(self.state.sums[0].item()):
            return
        rate = self.optimizer.param_groups[0]["lr"]
        kept = "; the last checkpoint is kept" if self.folder else ""
        raise TrainingError(f"the loss of {self.name} is not finite in epoch {self.state.epoch + 1}, at step "
                            f"{self.state.step} of {self.steps}, with a learning rate of {rate:.3g}; choose a smaller "
                            f"--learning-rate, for instance {self.settings.learning_rate / 10:.1g}{kept}")

    def _pause(self) -> None:
        self._save_state()
        self.notes.append(f"{self.name} paused after {duration(self.clock.seconds())} (--max-time) {self._position()}")
        self.progress.note(self.notes[-1])

    def _interrupt(self, stop: StopFlag) -> None:
        self._save_state()
        self._save_checkpoint()
        raise Interrupted(f"{self.name} stopped {self._position()}", stop.exit_code or _STOPPED_ELSEWHERE)

    def _position(self) -> str:
        """Return the current step, and where the state was saved, for a message."""
        saved = f"saved in {self.folder}. Run the same command with --resume to continue"
        return (f"in epoch {self.state.epoch + 1} of {self.epochs}, after step {self.state.step} of {self.steps}; "
                f"{saved if self.folder else 'nothing was saved because no folder was given'}")

    def _finish_epoch(self, task: Task, on_epoch: Callable[[EpochRecord], None] | None) -> None:
        state, running = self.state, self._running()
        accuracy = self._validate()
        record = EpochRecord(epoch=state.epoch + 1, train_loss=running["loss"], train_accuracy=running["accuracy"],
                             val_accuracy=accuracy)
        state.history.append(record)
        if accuracy is not None:
            task.advance(0, val_accuracy=accuracy)
        if on_epoch is not None:
            on_epoch(record)
        state.epoch, state.step = state.epoch + 1, 0
        state.sums = torch.zeros_like(state.sums)
        self._save_state()

    def _validate(self) -> float | None:
        if self.validation is None:
            return None
        offsets = self.placement.sample(torch.arange(len(self.validation)), seed=_VALIDATION_SEED)
        with single_view(self.model):
            predictions = predict(self.model, self.validation, offsets, self.placement)
        return predictions.correct(self.validation.labels).double().mean().item()

    # ------------------------------------------------------------------ files

    def _identity(self) -> dict[str, Any]:
        return {"model": self.name, "dataset": self.data.name, "train_images": len(self.batches),
                "settings": self.settings.to_dict(), "placement": self.placement.to_dict()}

    def _save_state(self) -> None:
        if self.folder is not None and self.parallel.group.first:
            tensors = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                       "plan": self.plan.to_dict()}
            save_state(self.folder, self.state, tensors, plain(self._identity()))

    def _restore(self) -> bool:
        """Load the state in the folder; return True if there was one."""
        stored = from_first(self._stored)
        if stored is None:
            return False
        state, tensors = stored
        plan = tensors["plan"]
        if plan.threads != self.plan.threads:
            self.notes.append(f"started with {plan.threads} threads, resumed with {self.plan.threads}; rounding may "
                              "differ")
        restore_state(tensors, self.model, self.optimizer, self.folder or Path())
        self.plan, self.state = plan, state
        return True

    def _stored(self) -> tuple[TrainingState, Any] | None:
        stored = load_state(self.folder, self.device, self.model) if self.folder is not None else None
        if stored is None or self.folder is None:
            return None
        check_identity(stored["identity"], plain(self._identity()), self.folder)
        return stored["state"], stored["tensors"]

    def _save_checkpoint(self) -> None:
        if self.folder is None or not self.parallel.group.first:
            return
        provenance = Provenance(
            name=self.name, dataset=self.data.name, class_names=list(self.data.class_names), trained=self.trained,
            placement=self.placement.to_dict(), channels=self.data.shape[0], resize=self.data.resize,
            prepared=None if self.data.prepared is None else self.data.prepared.to_dict(),
            settings=self.settings.to_dict(), epochs=self.state.epoch,
            finished=self.state.epoch == self.epochs, notes=self.notes)
        save(self.model, self.folder, provenance=provenance)

    def _result(self) -> TrainResult:
        state = self.state
        seen = state.epoch * len(self.batches) + min(state.step * self.settings.batch_size, len(self.batches))
        return TrainResult(
            model=self.name, dataset=self.data.name, parameters=count_parameters(self.model), epochs=state.epoch,
            seed=self.settings.seed, trained=self.trained, train_images=len(self.batches),
            validation_images=len(self.validation) if self.validation is not None else 0, train_seconds=state.seconds,
            images_per_second=seen / state.seconds if state.seconds else 0.0, history=state.history,
            settings=self.settings.to_dict() | {"plan": self.plan.to_dict()}, placement=self.placement.to_dict(),
            device=str(self.device), checkpoint=str(self.folder) if self.folder else None, notes=self.notes)
