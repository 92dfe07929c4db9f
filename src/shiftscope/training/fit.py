"""The training loop."""

import math
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.data.base import Dataset
from shiftscope.devices import tf32
from shiftscope.distributed import from_first, together, total
from shiftscope.errors import Interrupted, TrainingError
from shiftscope.evaluation.predictions import predict
from shiftscope.files import plain
from shiftscope.generators import seed_generators, seeded
from shiftscope.hooks import memory_format
from shiftscope.models.adapt import Normalization, adapt, title_of
from shiftscope.models.checkpoint import Provenance, save
from shiftscope.models.forward import check_model, device_and_dtype, single_view
from shiftscope.models.registry import count_parameters
from shiftscope.modules import Classifier, as_module, preserve_modes, reports_model_errors, set_mode
from shiftscope.outputs import first_maximum
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress, Task, duration
from shiftscope.results import EpochRecord, TrainResult
from shiftscope.settings import TrainSettings
from shiftscope.training.augment import erased, mirrored
from shiftscope.training.batches import batches_of, dropout_seeds
from shiftscope.training.clock import Clock, Forecast
from shiftscope.training.memory import keep_memory
from shiftscope.training.optimizers import build_optimizer
from shiftscope.training.plan import Plan, choose_plan, pieces, planned_outputs
from shiftscope.training.reading import EVERY_STEPS, Reading
from shiftscope.training.rehearsal import prepare, rehearse
from shiftscope.training.schedule import learning_rate
from shiftscope.training.small_canvas import small_placement
from shiftscope.training.state import TrainingState, check_identity, load_state, put_back, save_state
from shiftscope.training.stopping import StopFlag
from shiftscope.training.teamwork import Teamwork
from shiftscope.training.trial import tried_plan

_VALIDATION_SEED = 0
_ANOTHER = 130  # exit code where another process of the group was asked to stop


@together("folder", "progress", "on_epoch", "stop")
@reports_model_errors
def train(model: Classifier, data: Dataset, *, placement: Placement | None = None,
          settings: TrainSettings | None = None, name: str | None = None, folder: Path | str | None = None,
          resume: bool = False, normalize: Normalization | None = None,
          preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, progress: Progress | None = None,
          on_epoch: Callable[[EpochRecord], None] | None = None, stop: StopFlag | None = None) -> TrainResult:
    """Train `model` on images laid at a new random place each epoch.

    Given settings, threads and device, a seed repeats bit for bit, also through any number of interruptions. A long
    training of a convnet on a CPU first measures which micro-batches suit the machine (`settings.plan` of the result
    says them); the choice is remembered in the user's cache folder, and a resumed training keeps its own.

    With `settings.max_time`, training pauses after the step in which the time is up: at least one step is done, the
    state is saved as by Ctrl-C, and a result with fewer epochs and a note is returned.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns logits or log-probabilities (B, K); of several outputs in
            train mode the first (B, K) is trained. Trained in place, on
            the device where it is; its train/eval mode and memory layout are as before afterwards.
        data: the dataset; it is kept on the model's device as uint8 where it fits.
        placement: where images lie; default: a canvas of 56 x 56, or twice the image where that is larger.
        settings: open fields are taken from the model's recipe.
        name: the model's name in tables and for its recipe (the registry's unless given).
        folder: where to keep a checkpoint and the training state, after every epoch and when stopped; None: nowhere.
        resume: go on from the state in `folder`, if there is one.
        normalize: (mean, std), for a foreign model that wants normalized pixels.
        preprocess: any other preparation of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.
        progress: where to report to.
        on_epoch: called after every epoch with its record, before the state is saved.
        stop: asked between steps whether to stop; SIGINT and SIGTERM ask it meanwhile.

    Returns:
        History and figures.

    Raises:
        UsageError: the model does not fit the data; other settings than those of the resumed training.
        TrainingError: the loss is not finite.
        Interrupted: asked to stop; what was trained is saved in `folder` and stays in `model`.

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
        fit = _Fit(prepared, data, placement, settings, name, Path(folder) if folder is not None else None,
                   progress or SilentProgress())
        with (stop if stop is not None else StopFlag()).listening() as flag:
            return fit.run(resume, on_epoch, flag)


class _Fit:
    """One training: what is fixed is set here, what changes is in `state`, the model and the optimizer."""

    def __init__(self, model: nn.Module, data: Dataset, placement: Placement, settings: TrainSettings,
                 name: str, folder: Path | None, progress: Progress):
        self.model, self.data, self.placement, self.folder, self.progress = model, data, placement, folder, progress
        self.name = name
        self.settings = settings.resolve(self.name, data.name)
        self.device, _ = device_and_dtype(model)
        train_images, self.validation = data.split(settings.validation)
        self.batches = batches_of(train_images, self.device)
        self.few, _ = self.batches.first(2)
        check_model(model, self.few, placement, data.classes)
        self.optimizer = build_optimizer(model, self.settings)
        self.plan, self.notes = from_first(lambda: choose_plan(model, self.settings, self.few, placement))
        self.notes += rehearse(model, self.few, placement, len(self.batches), self.settings.batch_size)
        self.fresh = torch.zeros(3, dtype=torch.float64, device=self.device)  # counted here, not yet in the state
        self.state = TrainingState(sums=torch.zeros_like(self.fresh))
        self.epochs = self.settings.epochs
        self.steps = -(-len(self.batches) // self.settings.batch_size)
        self.centered = placement.count == 1
        self.small = small_placement(placement) if self.settings.small_canvas else placement
        if self.small != placement:
            check_model(model, self.few, self.small, data.classes)
        self.clock = Clock(self.settings.max_time)

    @property
    def trained(self) -> str:
        return "centered" if self.centered else "random"

    # ------------------------------------------------------------------ the loop

    def run(self, resume: bool, on_epoch: Callable[[EpochRecord], None] | None, stop: StopFlag) -> TrainResult:
        keep_memory()
        restored = resume and self._restore()
        with preserve_modes(self.model), memory_format(self.model, channels_last=self.plan.channels_last):
            if not restored and self.settings.micro_batch is None:
                self._try_plan()
            self.team = Teamwork(self.model, self.plan, self.settings.batch_size, self.few, self.placement)
            self.reading = Reading(self.device, self.team.group.size)
            with self.team.unwarned(), self._arithmetic():
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
            for piece in pieces(len(first), plan.micro_batch):
                outputs = planned_outputs(model, images[piece], offsets[piece], self.placement, plan)
                F.cross_entropy(outputs, labels[piece]).backward()

        shape = (images.shape[1], *self.placement.canvas)
        self.plan, note = from_first(lambda: tried_plan(self.model, self.plan, len(first), self.epochs * self.steps,
                                                        shape, one_batch))
        if note is not None:
            self.notes.append(note)

    def _epochs(self, on_epoch: Callable[[EpochRecord], None] | None, stop: StopFlag) -> None:
        done = self.state.epoch * len(self.batches) + self.state.step * self.settings.batch_size
        task = self.progress.task(f"train {self.name}", self.epochs * len(self.batches), done=done)
        epochs = self.epochs - self.state.epoch
        self.forecast = Forecast(epochs * self.steps - self.state.step, epochs,
                                 (len(self.validation) if self.validation else 0) / len(self.batches), self.device)
        try:
            while self.state.epoch < self.epochs:
                if self._epoch(task, stop):
                    self._finish_epoch(task, on_epoch)
                if self.state.epoch < self.epochs and self.team.agree(self.clock.is_up())[0]:
                    self._pause()
                    break
        finally:
            task.close()

    def _epoch(self, task: Task, stop: StopFlag) -> bool:
        """Do the steps that are left of the present epoch; return whether it was done before the time was up."""
        state, seed = self.state, self.settings.seed
        order = self.batches.begin(seed, state.epoch)
        self.laid = self.small if state.epoch < int(self.settings.small_canvas * self.epochs) else self.placement
        offsets = self.laid.sample(order, seed=seed, epoch=state.epoch)
        self.seeds = dropout_seeds(seed, range(state.epoch * self.steps, (state.epoch + 1) * self.steps))
        set_mode(self.model, train=True)
        begun, unshown = time.perf_counter(), 0
        while state.step < self.steps:
            first = state.step * self.settings.batch_size
            batch = slice(first, first + self.settings.batch_size)
            following = order[batch.stop:batch.stop + self.settings.batch_size]
            self.batches.expect(following[self.team.part(len(following)).rows])
            self._step(order[batch], offsets[batch])
            state.step += 1
            unshown += len(order[batch])
            stopped, time_is_up = bool(stop), self.clock.is_up()
            alone, reads = self.team.group.size == 1, self.reading.is_due(state.step, self.steps)
            if reads or (alone and (stopped or time_is_up)):
                stopped, time_is_up = self._agree(stopped, time_is_up)
                self._check_finite()
            elif not alone:  # they stop together, at a step where they agree
                stopped = time_is_up = False
            if reads and (self.reading.waits or state.step % EVERY_STEPS == 1):
                task.advance(unshown, epoch=state.epoch + 1, **self._running())
                unshown = 0
            self._tell(self.forecast.step())
            if stopped:
                state.seconds += time.perf_counter() - begun
                self._interrupt(stop)
            if time_is_up:
                break
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        state.seconds += time.perf_counter() - begun
        task.advance(unshown, **self._running())
        return state.step == self.steps

    def _tell(self, sentence: str | None) -> None:
        if sentence is not None:
            self.progress.note(f"train {self.name}: {sentence}")

    def _step(self, indices: torch.Tensor, offsets: torch.Tensor) -> None:
        """One optimizer step; the gradient is summed over micro-batches."""
        state, settings = self.state, self.settings
        position = state.epoch * self.steps + state.step
        rate = learning_rate(position, self.epochs * self.steps, settings.learning_rate, settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        part = self.team.part(len(indices))
        images, labels = self.batches.read(indices, part.rows)
        images, offsets = self._augmented(images, indices[part.rows]), offsets[part.rows]
        self._seed(self.team.seed(self.seeds[state.step]))
        self.optimizer.zero_grad(set_to_none=True)
        own = pieces(len(labels), self.plan.micro_batch)
        for piece in own:
            with self.team.summing(last=piece is own[-1]):
                self._forward_backward(images[piece], labels[piece], offsets[piece], len(indices), part.weight)
        self.optimizer.step()

    def _seed(self, seed: int) -> None:
        """Seed what dropout, and whatever else a model draws, is drawn from."""
        seed_generators(self.device, seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)

    def _augmented(self, images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return the images of a step, changed as the settings ask."""
        seed, epoch = self.settings.seed, self.state.epoch
        if self.settings.mirror:
            images = mirrored(images, indices, seed=seed, epoch=epoch)
        if self.settings.erase:
            images = erased(images, indices, share=self.settings.erase, seed=seed, epoch=epoch)
        return images

    def _forward_backward(self, images: torch.Tensor, labels: torch.Tensor, offsets: torch.Tensor, batch: int,
                          weight: float) -> None:
        outputs = self.team.outputs(images, offsets, self.laid, self.plan)
        loss = F.cross_entropy(outputs, labels, reduction="sum", label_smoothing=self.settings.label_smoothing)
        (loss * (weight / batch)).backward()
        with torch.no_grad():
            if weight:
                right = (first_maximum(outputs) == labels).sum()
                self.fresh += torch.stack((loss.double(), right.double(), loss.new_tensor(len(labels)).double()))

    # ------------------------------------------------------------------ between steps

    def _agree(self, stopped: bool, time_is_up: bool) -> list[bool]:
        """Add what all processes of the group counted to the epoch's sums; return whether any is to stop, and why."""
        self.state.sums += total(self.fresh)
        self.fresh.zero_()
        return self.team.agree(stopped, time_is_up) if self.team.group.size > 1 else [stopped, time_is_up]

    def _running(self) -> dict[str, float]:
        loss, right, count = self.state.sums.tolist()
        return {"loss": loss / max(count, 1), "accuracy": right / max(count, 1)}

    def _check_finite(self) -> None:
        if math.isfinite(self.state.sums[0].item()):
            return
        rate = self.optimizer.param_groups[0]["lr"]
        kept = "; the last checkpoint stands" if self.folder else ""
        raise TrainingError(f"the loss of {self.name} is not finite in epoch {self.state.epoch + 1}, by step "
                            f"{self.state.step} of {self.steps}, at a learning rate of {rate:.3g}: choose a smaller "
                            f"--learning-rate, for instance {self.settings.learning_rate / 10:.1g}{kept}")

    def _pause(self) -> None:
        """Leave the training for later, for its time is up."""
        state = self.state
        where = (f"{self.name} paused after {duration(self.clock.seconds())}, as --max-time asks, in epoch "
                 f"{state.epoch + 1} of {self.epochs}, after step {state.step} of {self.steps}")
        kept = f"saved in {self.folder}. Go on with the same command and --resume"
        self._save_state()
        self.notes.append(f"{where}; {kept if self.folder else 'nothing was saved, for no folder was given'}")
        self.progress.note(self.notes[-1])

    def _interrupt(self, stop: StopFlag) -> None:
        where = f"{self.name} stopped in epoch {self.state.epoch + 1}, after step {self.state.step} of {self.steps}"
        if self.folder is None:
            raise Interrupted(f"{where}; nothing was saved, for no folder was given", stop.exit_code or _ANOTHER)
        self._save_state()
        self._save_checkpoint()
        raise Interrupted(f"{where}; saved in {self.folder}. Go on with the same command and --resume",
                          stop.exit_code or _ANOTHER)

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
        if self.folder is not None:
            self._save_state()

    def _validate(self) -> float | None:
        if self.validation is None:
            return None
        offsets = self.placement.sample(torch.arange(len(self.validation)), seed=_VALIDATION_SEED)
        with single_view(self.model):
            found = predict(self.model, self.validation, offsets, self.placement)
        return found.correct(self.validation.labels).double().mean().item()

    # ------------------------------------------------------------------ files

    def _identity(self) -> dict[str, Any]:
        return {"model": self.name, "dataset": self.data.name, "train_images": len(self.batches),
                "settings": self.settings.to_dict(), "placement": self.placement.to_dict()}

    def _save_state(self) -> None:
        if self.folder is not None and self.team.group.first:
            tensors = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                       "plan": self.plan.to_dict()}
            save_state(self.folder, self.state, tensors, plain(self._identity()))

    def _restore(self) -> bool:
        """Go on from the state in the folder; return whether there was one."""
        stored = from_first(self._stored)
        if stored is None:
            return False
        state, tensors = stored
        plan = tensors["plan"]
        if plan.threads != self.plan.threads:
            self.notes.append(f"begun with {plan.threads} threads, resumed with {self.plan.threads}: rounding may "
                              "differ")
        put_back(tensors, self.model, self.optimizer, self.folder or Path())
        self.plan, self.state = plan, state
        return True

    def _stored(self) -> tuple[TrainingState, Any] | None:
        stored = load_state(self.folder, self.device, self.model) if self.folder is not None else None
        if stored is None or self.folder is None:
            return None
        check_identity(stored["identity"], plain(self._identity()), self.folder)
        return stored["state"], stored["tensors"]

    def _save_checkpoint(self) -> None:
        if self.folder is None or not self.team.group.first:
            return
        provenance = Provenance(
            name=self.name, dataset=self.data.name, class_names=list(self.data.class_names), trained=self.trained,
            placement=self.placement.to_dict(), channels=self.data.shape[0], settings=self.settings.to_dict(),
            epochs=self.state.epoch, finished=self.state.epoch == self.epochs, notes=self.notes)
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
