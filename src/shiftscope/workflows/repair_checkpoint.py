"""`shiftscope repair`: audit a checkpoint, repair it, fine-tune it, audit it again, and show the two side by side."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from shiftscope import files
from shiftscope.auditing import audit, compare
from shiftscope.errors import CheckpointError, Interrupted, UsageError, require, unknown
from shiftscope.models import load_config, save
from shiftscope.models.forward import placed_pixels
from shiftscope.models.repair import METHODS, Repaired, repair
from shiftscope.outputs import OutputType
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting import audit_figures, save_figure
from shiftscope.results import Audit, TrainResult
from shiftscope.runs import RunFolder
from shiftscope.settings import TrainSettings, recipe_of
from shiftscope.training import train
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.checkpoints import Trained, in_one_pass, open_checkpoint, stored_settings
from shiftscope.workflows.inputs import begin_run
from shiftscope.workflows.repair_findings import repair_findings
from shiftscope.workflows.subjects import Subject, checkpoint_subject

GENTLER = {"polyphase": 1.0}
"""Share of the learning rate that a model was trained with, for fine-tuning it; `GENTLY` for the other ways to repair.
Polyphase sampling changes what every layer is given: on the validation split of Fashion-MNIST the whole rate gives the
convnet 1.3 points more than a third of it, after 2 epochs of 12,000 images."""

GENTLY = 1 / 3
"""Where the model is right already, a high rate would undo it first."""

AUDIT = "audit"

SAMPLES = 8
"""Test images on which strides and the effect of shifts are measured; their labels are not used."""


def finetune_rate(method: str, trained_with: float) -> float:
    """Return the learning rate for fine-tuning a model that was repaired in this way.

    >>> finetune_rate("polyphase", 0.003)
    0.003
    """
    return GENTLER.get(method, GENTLY) * trained_with


@dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """What `shiftscope repair` is asked for, apart from checkpoint and data."""

    method: str
    """blur, polyphase, phase-average, placement-average or recenter."""
    finetune: int = 0
    """Epochs of training after the repair."""
    head: str = "mean"
    """What becomes of a layer that reads positions: see `repair`."""
    stride: tuple[int, int] | None = None
    """Total stride down and right, for phase-average (default: found)."""
    learning_rate: float | None = None
    """Of the fine-tuning (default: as the model was trained with polyphase, a third of that otherwise)."""
    images: int | None = None
    """Audit the first so many test images only."""
    seed: int = 0
    """Of the fine-tuning."""
    engine: str = "auto"
    """Of the audits."""
    output_type: OutputType | None = None
    """What the model returns: determined unless given."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("way to repair", self.method, METHODS)
        require(self.finetune >= 0, "finetune", self.finetune, "a number of epochs, 0 or more")
        require(self.images is None or self.images >= 1, "images", self.images, "a whole number of at least 1")
        if self.finetune and self.method == "placement-average":
            raise UsageError("finetune must be 0 with placement-average, which would train on every placement of each "
                             f"image at once, got {self.finetune}: train the model itself, and repair it afterwards")


@dataclass(frozen=True, kw_only=True)
class RepairResult:
    """What came out of `repair_checkpoint`."""

    before: Audit
    after: Audit
    comparison: dict[str, Any]
    """What `compare` says of the two."""
    training: TrainResult | None
    """The fine-tuning."""
    notes: list[str]
    """What was changed, what was measured, and what is proven."""
    checkpoint: Path


def repair_checkpoint(checkpoint: Path, overrides: dict[str, Any], options: RepairOptions, *, out: Path,
                    device: str = "auto", allow_code: str | None = None, resume: bool = False,
                    overwrite: bool = False, progress: Progress, command: list[str] | None = None) -> RepairResult:
    """Repair a checkpoint and leave a run folder with the repaired one, both audits and figures of them side by side.

    Args:
        checkpoint: checkpoint or run folder.
        overrides: fields of `DataSettings` that differ from what the model was trained on.
        out: the run folder; `shiftscope audit OUT` and the like find the repaired checkpoint in it.
        resume: go on with the run in `out`.
        overwrite: replace the run in `out`.

    Raises:
        CheckpointError: missing, corrupt or hostile.
        UsageError: what cannot be repaired, by name; `out` holds a run.
        TraceError: the model's graph cannot be read.
        Interrupted: stopped by a signal after saving.
    """
    run = RunFolder(out)
    run.check(resume=resume, overwrite=overwrite)
    if overwrite and checkpoint.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"--out {out} holds the checkpoint {checkpoint} itself, which --overwrite would remove: "
                         "choose another folder")
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    subject = checkpoint_subject(trained, overrides, progress)
    place = subject.placement
    repaired = in_one_pass(repair(subject.model, (subject.data.shape[0], *place.canvas), method=options.method, head=options.head,
                              background=_background(place, options.method), image=whole_image(place),
                              stride=options.stride, output_type=options.output_type, samples=_samples(subject)))
    asked = {"checkpoint": str(checkpoint), "data": overrides, "repair": asdict(options)}
    with begin_run(run, subject.data, asked, device=trained.device, seed=options.seed, command=command or [],
                   resume=resume, overwrite=overwrite, progress=progress):
        for note in repaired.notes:
            progress.note(note)
        return _Work(trained, subject, repaired, options, run, progress).done()


def _samples(subject: Subject) -> torch.Tensor:
    """Return some images in the middle of their canvas, float32 (N, C, H, W)."""
    images = subject.data.split_images("test", subject.validation)
    some = images.gather(torch.arange(min(SAMPLES, len(images)))).cpu()
    return placed_pixels(some, subject.placement.centered(len(some), some.device), subject.placement)


def _background(placement: Placement, method: str) -> float | None:
    if isinstance(placement.background, int):
        return placement.background / 255
    if method == "recenter":
        raise UsageError("background must be one number for --method recenter, got a texture, on which no object can be "
                         "found: choose another --method")
    return None


def whole_image(placement: Placement) -> tuple[int, int] | None:
    """Return the size of images that lie whole on a plain canvas, None where a placement is something else."""
    plain = placement.mode == "canvas" and isinstance(placement.background, int)
    return placement.image if plain else None


class _Work:
    """One repair on its way: each step leaves its result in the run folder and is found there when resumed."""

    def __init__(self, trained: Trained, subject: Subject, repaired: Repaired, options: RepairOptions, run: RunFolder,
                 progress: Progress):
        self.trained, self.subject, self.repaired = trained, subject, repaired
        self.options, self.run, self.progress = options, run, progress
        self.name = f"{subject.name}-{options.method}{'-finetuned' if options.finetune else ''}"
        self.folder = run.checkpoint(self.name)

    def done(self) -> RepairResult:
        before = self._audited(subject=self.subject)
        training = self._finetuned() if self.options.finetune else None
        self._save()
        after = self._audited(subject=replace(self.subject, model=self.repaired, name=self.name))
        comparison = compare(before, after)
        files.write_json(self.run.path / "results" / "comparison.json", comparison)
        for name, figure, _ in audit_figures([before, after]):
            save_figure(figure, self.run.figures, name)
        return RepairResult(before=before, after=after, comparison=comparison, training=training,
                          notes=[*self.repaired.notes, *repair_findings(self.repaired, before, after,
                                                                    self.subject.placement)],
                          checkpoint=self.folder)

    def _audited(self, subject: Subject) -> Audit:
        where = self.run.result(subject.name, AUDIT)
        found, stop = _stored(where), StopFlag()
        if found is not None:
            return found
        own = self.options.output_type if subject.model is self.subject.model else None  # the repaired one may differ
        with stop.listening():
            found = audit(subject.model, subject.data, placement=subject.placement, validation=subject.validation,
                          name=subject.name, trained=subject.trained, limit=self.options.images,
                          engine=self.options.engine, output_type=own, stop=stop, progress=self.progress)
        if stop:
            raise Interrupted(f"interrupted while auditing {subject.name}; what was done before is in {self.run.path}. "
                              "Go on with the same command and --resume", stop.exit_code)
        found.save(where)
        return found

    def _finetuned(self) -> TrainResult:
        settings = finetune_settings(self.trained, self.options)
        result = train(self.repaired, self.subject.data, placement=self.subject.placement, settings=settings,
                       name=self.name, folder=self.folder, resume=True, progress=self.progress)
        result.save(self.run.result(self.name, "training"))
        self.repaired.eval()
        return result

    def _save(self) -> None:
        known = load_config(self.folder).provenance if self.options.finetune else self.trained.config.provenance
        provenance = replace(known, name=self.name, placement=self.subject.placement.to_dict(),
                             notes=[*known.notes, *self.repaired.notes])
        save(self.repaired, self.folder, provenance=provenance)


def _stored(where: Path) -> Audit | None:
    try:
        return Audit.load(where)
    except CheckpointError:
        return None


def finetune_settings(trained: Trained, options: RepairOptions) -> TrainSettings:
    """Return the settings that a checkpoint was trained with, for a few more epochs and a lower learning rate."""
    settings = stored_settings(trained.config.provenance.settings)
    recipe = recipe_of(trained.config.model)

    def kept(name: str) -> Any:
        value = getattr(settings, name)
        return getattr(recipe, name) if value is None else value

    rate = options.learning_rate or finetune_rate(options.method, kept("learning_rate"))
    return TrainSettings(
        epochs=options.finetune, learning_rate=rate, validation=settings.validation, seed=options.seed,
        **{name: kept(name) for name in ("batch_size", "optimizer", "weight_decay", "schedule", "label_smoothing")})
