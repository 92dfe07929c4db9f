"""`shiftscope repair`: audit a checkpoint, repair it, fine-tune it, audit it again, and compare the two audits."""

import copy
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shiftscope import files
from shiftscope.auditing import audit, compare
from shiftscope.auditing.audit import audit_seconds
from shiftscope.dense import prove_invariance
from shiftscope.errors import CheckpointError, Interrupted, ShiftscopeError, UsageError, require, unknown
from shiftscope.models import load_config, save
from shiftscope.models.forward import placed_pixels
from shiftscope.models.repair import METHODS, Repaired, repair
from shiftscope.outputs import OutputType
from shiftscope.placement import Placement
from shiftscope.progress import Progress, about, is_silent
from shiftscope.reporting import audit_figures, save_figure
from shiftscope.reporting.formatting import percent
from shiftscope.results import Audit, TrainResult
from shiftscope.runs import RunFolder
from shiftscope.runs.current_task import RecordedProgress
from shiftscope.settings import TrainSettings, recipe_of
from shiftscope.training import train
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.begin_run import begin_run
from shiftscope.workflows.load_inputs import (
    LoadedCheckpoint,
    ModelWithData,
    add_data,
    open_checkpoint,
    stored_settings,
    use_one_pass,
)

FINETUNE_FACTORS = {"polyphase": 1.0}
"""Learning rate for fine-tuning, as a fraction of that of the training; `FINETUNE_FACTOR` for the other methods.

Polyphase sampling changes the input of every layer. On the validation split of Fashion-MNIST the full rate gives the
convnet 1.3 points more than a third of it, after 2 epochs of 12,000 images."""

FINETUNE_FACTOR = 1 / 3
"""A higher rate would first degrade a model that is already accurate."""

AUDIT = "audit"

TRIAL_SECONDS = 2.0
"""Time of the trial that estimates the fine-tuning."""

FIRST_STEP = 1e-9
"""Time limit of one step: the first one allocates memory and is slower."""

VALIDATION_COST = 1 / 3
"""Time for a validation image as a fraction of that for a training image, which also has a backward pass."""

SAMPLES = 8
"""Test images on which strides and the effect of shifts are measured; their labels are not used."""


def finetune_rate(method: str, learning_rate: float) -> float:
    """Return the learning rate for fine-tuning after a repair, given that of the training.

    >>> finetune_rate("polyphase", 0.003)
    0.003
    """
    return FINETUNE_FACTORS.get(method, FINETUNE_FACTOR) * learning_rate


@dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """The options of `shiftscope repair`, without checkpoint and data."""

    method: str
    """blur, polyphase, phase-average, placement-average or recenter."""
    finetune: int = 0
    """Epochs of training after the repair."""
    head: str = "mean"
    """What happens to a layer that depends on positions: see `repair`."""
    stride: tuple[int, int] | None = None
    """Total stride (down, right) for phase-average (default: measured)."""
    learning_rate: float | None = None
    """For the fine-tuning (default: that of the training with polyphase, a third of it otherwise)."""
    images: int | None = None
    """Number of test images to audit, the first ones."""
    seed: int = 0
    """For the fine-tuning."""
    engine: str = "auto"
    """For the audits."""
    output_type: OutputType | None = None
    """Type of the model's outputs (default: determined)."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("repair method", self.method, METHODS)
        require(self.finetune >= 0, "finetune", self.finetune, "a number of epochs, 0 or more")
        require(self.images is None or self.images >= 1, "images", self.images, "an integer of at least 1")
        if self.finetune and self.method == "placement-average":
            raise UsageError("finetune must be 0 with placement-average, because it would train on all placements of "
                             f"each image, got {self.finetune}: train the model first, and repair it afterwards")


@dataclass(frozen=True, kw_only=True)
class RepairResult:
    """The result of `repair_checkpoint`."""

    before: Audit
    after: Audit
    comparison: dict[str, Any]
    """See `compare`."""
    training: TrainResult | None
    """Of the fine-tuning."""
    notes: list[str]
    """What was changed, what was measured, and what is proven."""
    checkpoint: Path


def repair_checkpoint(checkpoint: Path, overrides: dict[str, Any], options: RepairOptions, *, out: Path,
                      device: str = "auto", allow_code: str | None = None, resume: bool = False,
                      overwrite: bool = False, progress: Progress, command: list[str] | None = None) -> RepairResult:
    """Repair a checkpoint and write a run folder with the repaired one, both audits and figures of them side by side.

    Raises:
        CheckpointError: missing, corrupt or hostile.
        UsageError: if the model cannot be repaired by this method, or `out` holds a run.
        TraceError: if the model's graph cannot be read.
        Interrupted: if stopped by a signal; the state is saved, and `resume` continues.
    """
    run = RunFolder(out)
    run.check(resume=resume, overwrite=overwrite)
    if overwrite and checkpoint.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"--out {out} contains the checkpoint {checkpoint}, which --overwrite would delete: choose "
                         "another folder")
    loaded = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    inputs = add_data(loaded, overrides, progress)
    if options.finetune:
        inputs.data.require_training("fine-tuning")
    placement = inputs.placement
    repaired = use_one_pass(repair(
        inputs.model, (inputs.data.shape[0], *placement.canvas), method=options.method, head=options.head,
        background=_background(placement, options.method), image=whole_image(placement), stride=options.stride,
        output_type=options.output_type, samples=_samples(inputs)))
    settings = {"checkpoint": str(checkpoint), "data": overrides, "repair": asdict(options)}
    with begin_run(run, inputs.data, settings, device=loaded.device, seed=options.seed, command=command or [],
                   resume=resume, overwrite=overwrite, progress=progress):
        for note in repaired.notes:
            progress.note(note)
        progress = RecordedProgress(progress, run.path)
        work = _Repair(loaded, inputs, repaired, options, run, progress)
        if not resume and not is_silent(progress):
            progress.note(work.time_needed())
        return work.finish()


def _samples(inputs: ModelWithData) -> torch.Tensor:
    """Return some images in the middle of their canvas, float32 (N, C, H, W)."""
    images = inputs.data.split_images("test", inputs.validation)
    some = images.gather(torch.arange(min(SAMPLES, len(images)))).cpu()
    return placed_pixels(some, inputs.placement.centered(len(some), some.device), inputs.placement)


def _background(placement: Placement, method: str) -> float | None:
    if isinstance(placement.background, int):
        return placement.background / 255
    if method == "recenter":
        raise UsageError("background must be one number for --method recenter, got a texture, on which the object "
                         "cannot be located: choose another --method")
    return None


def whole_image(placement: Placement) -> tuple[int, int] | None:
    """Return the size of images that are fully visible on a constant canvas; None in other modes."""
    plain = placement.mode == "canvas" and isinstance(placement.background, int)
    return placement.image if plain else None


class _Repair:
    """A repair in progress: each step writes its result into the run folder, and `--resume` finds it there."""

    def __init__(self, loaded: LoadedCheckpoint, inputs: ModelWithData, repaired: Repaired, options: RepairOptions,
                 run: RunFolder, progress: Progress):
        self.loaded, self.inputs, self.repaired = loaded, inputs, repaired
        self.options, self.run, self.progress = options, run, progress
        self.name = f"{inputs.name}-{options.method}{'-finetuned' if options.finetune else ''}"
        self.folder = run.checkpoint(self.name)

    def finish(self) -> RepairResult:
        before = self._audit(self.inputs)
        training = self._finetune() if self.options.finetune else None
        self._save()
        after = self._audit(replace(self.inputs, model=self.repaired, name=self.name))
        comparison = compare(before, after)
        files.write_json(self.run.path / "results" / "comparison.json", comparison)
        self.progress.note("drawing figures")
        for name, figure, _ in audit_figures([before, after]):
            save_figure(figure, self.run.figures, name)
        findings = repair_findings(self.repaired, before, after, self.inputs.placement)
        return RepairResult(before=before, after=after, comparison=comparison, training=training,
                            notes=[*self.repaired.notes, *findings], checkpoint=self.folder)

    def time_needed(self) -> str:
        """Return a sentence with the estimated time of both audits and of the fine-tuning."""
        audits = [audit_seconds(model, self.inputs.data, placement=self.inputs.placement,
                                validation=self.inputs.validation, limit=self.options.images,
                                engine=self.options.engine) for model in (self.inputs.model, self.repaired)]
        parts = {"audit": audits[0], "fine-tuning": self._finetuning_seconds(),
                 "audit of the repaired model": audits[1]}
        shown = ", ".join(f"{name} {about(seconds)}" for name, seconds in parts.items() if seconds)
        return f"repair: {about(sum(parts.values()))} in total ({shown})"

    def _finetuning_seconds(self) -> float:
        """Return the time of the fine-tuning, from `TRIAL_SECONDS` of it with a copy of the model; 0 without any."""
        if not self.options.finetune:
            return 0.0
        settings = finetune_settings(self.loaded, self.options)
        twin, common = copy.deepcopy(self.repaired), {"placement": self.inputs.placement, "name": self.name}
        train(twin, self.inputs.data, settings=replace(settings, max_time=FIRST_STEP), **common)
        begun = time.perf_counter()
        trial = train(twin, self.inputs.data, settings=replace(settings, max_time=TRIAL_SECONDS), **common)
        if trial.epochs == settings.epochs:  # the trial was all of it
            return time.perf_counter() - begun
        seen = trial.train_images + VALIDATION_COST * trial.validation_images
        return settings.resolve(self.name).epochs * seen / trial.images_per_second

    def _audit(self, inputs: ModelWithData) -> Audit:
        folder, stop = self.run.result(inputs.name, AUDIT), StopFlag()
        with suppress(CheckpointError):
            return Audit.load(folder)
        # the repaired model may have outputs of another type
        output_type = self.options.output_type if inputs.model is self.inputs.model else None
        with stop.listening():
            result = audit(inputs.model, inputs.data, placement=inputs.placement, validation=inputs.validation,
                           name=inputs.name, trained=inputs.trained, limit=self.options.images,
                           engine=self.options.engine, output_type=output_type, stop=stop, progress=self.progress)
        if stop:
            raise Interrupted(f"interrupted while auditing {inputs.name}; earlier results are in {self.run.path}. "
                              "Continue with the same command and --resume", stop.exit_code)
        result.save(folder)
        return result

    def _finetune(self) -> TrainResult:
        settings = finetune_settings(self.loaded, self.options)
        result = train(self.repaired, self.inputs.data, placement=self.inputs.placement, settings=settings,
                       name=self.name, folder=self.folder, resume=True, progress=self.progress)
        result.save(self.run.result(self.name, "training"))
        self.repaired.eval()
        return result

    def _save(self) -> None:
        known = load_config(self.folder).provenance if self.options.finetune else self.loaded.config.provenance
        provenance = replace(known, name=self.name, placement=self.inputs.placement.to_dict(),
                             notes=[*known.notes, *self.repaired.notes])
        save(self.repaired, self.folder, provenance=provenance)


def finetune_settings(loaded: LoadedCheckpoint, options: RepairOptions) -> TrainSettings:
    """Return the settings of a checkpoint's training, with fewer epochs and a lower learning rate."""
    settings = stored_settings(loaded.config.provenance.settings)
    recipe = recipe_of(loaded.config.model)

    def kept(name: str) -> Any:
        value = getattr(settings, name)
        return getattr(recipe, name) if value is None else value

    rate = options.learning_rate or finetune_rate(options.method, kept("learning_rate"))
    return TrainSettings(
        epochs=options.finetune, learning_rate=rate, validation=settings.validation, seed=options.seed,
        **{name: kept(name) for name in ("batch_size", "optimizer", "weight_decay", "schedule", "label_smoothing")})


def repair_findings(model: nn.Module, before: Audit, after: Audit, placement: Placement) -> list[str]:
    """Return sentences on how a repaired model depends on position, from audits on the same images.

    It is called exactly invariant only if this is proven and no audited prediction contradicts it.
    """
    return [_measured(before, after), *_proven(model, after, placement)]


def _measured(before: Audit, after: Audit) -> str:
    which = "a sample of" if after.sampled else "all"
    accuracy = (f", mean accuracy {percent(after.mean_accuracy)} (before: {percent(before.mean_accuracy)})"
                if after.labeled else "")
    return (f"measured on {after.images:,} {after.split} images at {which} {after.placements:,} placements (mode "
            f"{after.mode}): the prediction is the same at every placement for {_unanimous(after):,} of "
            f"{after.images:,} images (before: {_unanimous(before):,}), consistency {percent(after.consistency)} "
            f"(before: {percent(before.consistency)}){accuracy}")


def _unanimous(audit: Audit) -> int:
    return round(audit.unanimity * audit.images)


def _proven(model: nn.Module, after: Audit, placement: Placement) -> list[str]:
    """Return a statement on the proof of invariance; empty if rounding does not explain the changed predictions."""
    changed = after.images - _unanimous(after)
    try:
        prove_invariance(model, placement, (after.shown_images.shape[1], *placement.image))
    except ShiftscopeError as refusal:
        why = str(refusal)
    except Exception as error:  # another author's model may raise anything while it is traced
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    else:
        if not changed:
            return [f"exactly invariant in mode {after.mode}: proven from its operations for every image, up to "
                    "rounding"]
        return [f"its operations are invariant in mode {after.mode}, but rounding changed predictions of {changed:,} "
                "images: a decision is close to a tie, or the output depends on other images or random numbers"]
    if not changed:
        return [f"no placement changed a prediction on these images; for other images it is not proven ({why})"]
    return []
