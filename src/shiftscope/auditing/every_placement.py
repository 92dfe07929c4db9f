"""The audit: what a model answers for every image at every placement, and what follows from it."""

import time
from collections.abc import Callable
from functools import cached_property

import torch

from shiftscope.auditing.assemble import assemble
from shiftscope.auditing.choose import Choice, apart, brute_force, choose_together
from shiftscope.auditing.inspection import Inspection, contradiction, inspect_model, unsettled
from shiftscope.auditing.modes import layers_that_change
from shiftscope.auditing.precision import exact_arithmetic
from shiftscope.auditing.selfcheck import passed
from shiftscope.auditing.subject import Subject
from shiftscope.auditing.sweep import Stop, Sweep, asked_to_stop
from shiftscope.data.base import Dataset, ImageSet, Split, Subset
from shiftscope.distributed import from_first, together
from shiftscope.errors import Interrupted, ShiftscopeError, require, unknown
from shiftscope.evaluation.brute import MEMORY
from shiftscope.models.adapt import Normalization, adapt, title_of
from shiftscope.models.forward import check_model, device_and_dtype
from shiftscope.modules import Classifier, in_train_mode, says_model_errors
from shiftscope.outputs import OutputType, check_output_type
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Audit
from shiftscope.results.audit import SelfCheck

ENGINES = ("auto", "dense", "brute")


@together("progress", "stop")
@says_model_errors
def audit(model: Classifier, data: Dataset, *, placement: Placement | None = None, engine: str = "auto",
          split: Split = "test", validation: int = 5000, limit: int | None = None, sample: int | None = None,
          memory: int = MEMORY, normalize: Normalization | None = None,
          preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
          trained: str = "unknown", expected: float | None = None, output_type: OutputType | None = None,
          seed: int = 0, progress: Progress | None = None, stop: Stop | None = None) -> Audit:
    """Ask a model about every image at every placement.

    The model is in eval mode meanwhile and left as it was. Whatever engine computes its logits, a random sample of
    images and placements is computed once more with the plain model, before and during the work; an engine that
    differs by more than rounding is given up for brute force.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns (B, K); any nn.Module, on any device, or any function.
        data: the dataset.
        placement: default: a canvas of 56 x 56, or twice the image where that is larger.
        engine: "dense": all placements in one pass, where the model's graph allows it; "brute": the model itself at
            each placement; "auto": dense where it is exact and faster, else brute.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split that was cut off in training.
        limit: the first so many images only.
        sample: so many placements drawn at random, the middle one among them: then no figure is exact. Unless given,
            all of them, and 1,000 where there are more than 10,000 and the engine is brute force.
        memory: bytes for the placements that brute force makes at once, with all that the model computes from them.
        normalize: (mean, std), for a foreign model that wants normalized pixels.
        preprocess: any other preparation of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.
        name: the model's name in tables (the registry's, or its class, unless given).
        trained: "random" or "centered", for tables.
        expected: accuracy of centered images, as a share, that the model is known for: a note says if it is far below.
        output_type: what the model returns: "logits", "probabilities" or "log-probabilities"; determined on a batch of
            images unless given. It serves confidences; a label is the first largest output, whatever it is.
        seed: fixes the sampled placements, the sample that is checked, and what a model draws at random from the
            generators of torch, NumPy and Python, which are left as they were.
        stop: asked between batches whether to stop: a flag by its truth value, or a function.

    Returns:
        The figures, with the answer to every image at every placement. Stopped, or by Ctrl-C: those of the images
        until then, marked partial.

    Raises:
        UsageError: an unknown engine, split or output type; the model does not fit the pictures or the classes; its
            outputs are not what `output_type` says.
        ShiftscopeError: "dense" was asked for and is not possible, the layer is named; out of memory with one
            placement at a time.
        Interrupted: stopped before the first images were done.

    Example:
        >>> from torch import nn
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", license="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 7, 2))
        >>> found = audit(model, data, placement=Placement(image=(4, 4), canvas=(6, 7)))
        >>> found.placements, found.mean_accuracy, found.worst_case_accuracy, found.consistency
        (12, 0.5, 0.5, 1.0)

    References:
        Engstrom et al., "Exploring the landscape of spatial robustness", ICML 2019, for the worst case over a grid of
        placements. Zhang, "Making convolutional networks shift-invariant again", ICML 2019, for consistency, there of
        one random pair. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    begun = time.perf_counter()
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    require(sample is None or sample >= 1, "sample", sample, "a whole number of at least 1")
    require(expected is None or 0 <= expected <= 1, "expected", expected, "a share from 0 to 1")
    if output_type is not None:
        check_output_type(output_type)
    placement = placement or default_placement(data.shape)
    title = name or title_of(model)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(data.shape[0], *placement.canvas))
    training = layers_that_change(prepared) if in_train_mode(prepared) else []
    images = _first(data.split_images(split, validation), limit)
    device, _ = device_and_dtype(prepared)
    subject = Subject(model=prepared, images=images, placement=placement, offsets=placement.offsets(), sampled=False,
                      seed=seed, memory=memory)
    work = _Work(subject if sample is None else subject.at_sample(sample), data.classes,
                 f"audit {title} ({split})", progress or SilentProgress(), stop, output_type)
    with exact_arithmetic(device, seed):
        check_model(prepared, images.gather(torch.arange(min(2, len(images)))).to(device), placement, data.classes)
        sweep, choice, check = work.run(engine)
    return assemble(sweep, choice, check, data, begun=begun, notes=work.notes, expected=expected, training=training,
                    model=title, split=split, trained=trained, output_type=work.inspection.output_type,
                    tie_tolerance=work.inspection.tolerance)


def _first(images: ImageSet, limit: int | None) -> ImageSet:
    require(limit is None or limit >= 1, "limit", limit, "a whole number of at least 1")
    return images if limit is None or limit >= len(images) else Subset(images, torch.arange(limit))


class _Work:
    """One audit on its way: tries, computes, checks, and begins again with brute force where the check fails."""

    def __init__(self, subject: Subject, classes: int, title: str, progress: Progress, stop: Stop | None,
                 output_type: str | None = None):
        self.subject, self.classes, self.title, self.progress, self.stop = subject, classes, title, progress, stop
        self.output_type = output_type
        self.notes: list[str] = []

    @cached_property
    def inspection(self) -> Inspection:
        """What a few images show about the model."""
        return from_first(lambda: inspect_model(self.subject.check(), self.output_type))

    def run(self, asked: str) -> tuple[Sweep, Choice, SelfCheck]:
        """Return what was found, by which engine and why, and how far that lies from the plain model."""
        self.notes += self.inspection.doubts
        choice = choose_together(self.subject, asked, self.inspection.doubts)
        sweep, check = self._sweep(choice)
        if choice.engine.name == "dense" and not passed(check):
            if asked == "dense" or sweep.interrupted:
                raise ShiftscopeError(f"{apart(check)}; use engine 'brute'")
            self.notes.append(f"{apart(check)}: all was computed again by brute force")
            choice = brute_force(self.subject, f"brute force, for {apart(check)}")
            sweep, check = self._sweep(choice)
        if not self.inspection.doubts and not sweep.interrupted:
            self.notes += from_first(lambda: self._about_rounding(sweep, check))
        return sweep, choice, check

    def _about_rounding(self, sweep: Sweep, check: SelfCheck) -> list[str]:
        """Say where rounding changes outputs by more than is usual, or predictions."""
        allowed, apart_by = check["tolerance"], check["max_abs_logit_difference"]
        notes = [] if passed(check) else [contradiction(sweep.check, apart_by, allowed)]
        return notes + unsettled(sweep.check, sweep.predictions.classes[:sweep.count], allowed)

    def _sweep(self, choice: Choice) -> tuple[Sweep, SelfCheck]:
        subject = choice.subject
        sweep = Sweep(choice.engine, subject.images, len(subject.offsets), self.classes, subject.check(),
                      self.inspection.tolerance)
        task = self.progress.task(f"{self.title}, {choice.engine.name}, {len(subject.offsets)} placements",
                                  len(subject.images))
        try:
            sweep.run(task, self.stop)
        finally:
            task.close()
        if sweep.count == 0:
            code = getattr(self.stop, "exit_code", 0) if asked_to_stop(self.stop) else 0
            raise Interrupted(f"{self.title} stopped before its first images were done", code or 130)
        return sweep, from_first(sweep.check.result)
