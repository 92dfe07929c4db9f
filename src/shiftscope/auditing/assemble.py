"""From what a sweep found to the record."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from shiftscope.auditing.choose import Choice
from shiftscope.auditing.statistics import figures, maps
from shiftscope.auditing.sweep import Sweep
from shiftscope.data.base import Dataset
from shiftscope.evaluation.notes import doubtful, few_images, one_class, tie_notes
from shiftscope.models.forward import device_and_dtype
from shiftscope.results import Audit
from shiftscope.results.audit import SelfCheck


def assemble(sweep: Sweep, choice: Choice, check: SelfCheck, data: Dataset, *, begun: float, notes: list[str],
             expected: float | None, training: Sequence[str], **described: Any) -> Audit:
    """Return the record of a sweep.

    Args:
        begun: what the clock said when the audit began.
        notes: those that were made on the way.
        expected: centered accuracy that the user states.
        training: names of the layers that its mode changes, where the model came in train mode.
        described: further fields of the record: model, split, trained, output_type, tie_tolerance.
    """
    subject, count = choice.subject, sweep.count
    predictions, labels = sweep.predictions.classes[:count], subject.images.labels[:count].numpy()
    offsets = subject.offsets.numpy()
    rows, columns = (axis.numpy() for axis in subject.placement.axes)
    found = figures(predictions, labels, data.classes, subject.middle)
    found |= maps(predictions, labels, data.classes, offsets, rows, columns)
    lost = int((predictions == sweep.predictions.lost).sum())
    index, logits = sweep.shown.arrays(count)
    ties = {name: int(getattr(sweep.predictions, name)[:count].sum()) for name in ("exact_ties", "ties")}
    notes = [*notes, *_notes(sweep, choice, training, lost), *tie_notes(**ties, count=predictions.size,
                                                                       tolerance=described["tie_tolerance"]),
             *doubtful(found["middle_accuracy"], found["intervals"]["middle_accuracy"], data.classes, expected),
             *few_images(count), *one_class(predictions, labels, data.class_names)]
    return Audit(
        dataset=data.name, synthetic=data.synthetic, class_names=list(data.class_names), images=count,
        placements=len(offsets), mode=subject.placement.mode, placement=subject.placement.to_dict(),
        sampled=subject.sampled, partial=sweep.interrupted, reason=choice.reason,
        engine="dense" if choice.engine.name == "dense" else "brute", seconds=time.perf_counter() - begun,
        device=str(device_and_dtype(subject.model)[0]), nonfinite=lost, **ties,
        self_check=check, notes=notes, rows=rows, columns=columns, offsets=offsets, labels=labels, predictions=predictions,
        worst_offset=offsets[sweep.predictions.worst[:count]],
        margins=sweep.predictions.margins[:count], shown_index=index, shown_logits=logits,
        shown_images=subject.images.gather(torch.from_numpy(index)).cpu().numpy(), **found, **described)


def _notes(sweep: Sweep, choice: Choice, training: Sequence[str], lost: int) -> list[str]:
    """Say what was given up or left out."""
    subject, count, notes = choice.subject, sweep.count, []
    if training:
        notes.append("the model came in train mode and was audited in eval mode, which changes what these layers "
                     f"compute: {', '.join(training)}")
    if sweep.interrupted:
        notes.append(f"interrupted: the figures are of the first {count:,} of {len(subject.images):,} images")
    if subject.sampled:
        notes.append(f"{len(subject.offsets):,} of {subject.placement.count:,} placements, the middle one and others "
                     "drawn at random: no figure is exact, and the worst case over all placements can only be lower")
    if lost:
        notes.append(f"{lost:,} of {count * len(subject.offsets):,} answers are not finite (NaN, or an infinite "
                     "maximum); they count as wrong")
    return notes
