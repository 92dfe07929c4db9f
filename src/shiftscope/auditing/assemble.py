"""From what a sweep found to the record."""

import time
from typing import Any

import torch

from shiftscope.auditing.choose import Choice
from shiftscope.auditing.selfcheck import passed
from shiftscope.auditing.statistics import figures, maps
from shiftscope.auditing.sweep import Sweep
from shiftscope.data.base import Dataset
from shiftscope.models.forward import home
from shiftscope.results import Audit
from shiftscope.results.audit import SelfCheck

FAR_BELOW = 0.03
"""So much may the centred accuracy lie below what the user states, beyond its confidence interval."""


def assemble(sweep: Sweep, choice: Choice, check: SelfCheck, data: Dataset, *, begun: float, notes: list[str],
             expected: float | None, training: bool, **described: Any) -> Audit:
    """Return the record of a sweep.

    Args:
        begun: what the clock said when the audit began.
        notes: those that were made on the way.
        expected: centred accuracy that the user states.
        training: whether the model came in train mode.
        described: further fields of the record: model, split, trained.
    """
    subject, count = choice.subject, sweep.count
    answers, labels = sweep.answers.classes[:count], subject.images.labels[:count].numpy()
    offsets = subject.offsets.numpy()
    rows, columns = (axis.numpy() for axis in subject.placement.axes)
    found = figures(answers, labels, data.classes, subject.middle)
    found |= maps(answers, labels, data.classes, offsets, rows, columns)
    lost = int((answers == sweep.answers.lost).sum())
    index, logits = sweep.shown.arrays(count)
    notes = [*notes, *_notes(sweep, choice, check, training, lost), *_doubtful(found, data.classes, expected)]
    return Audit(
        dataset=data.name, drawn=data.drawn, class_names=list(data.class_names), images=count,
        placements=len(offsets), mode=subject.placement.mode, placement=subject.placement.to_dict(),
        sampled=subject.sampled, partial=sweep.interrupted, reason=choice.reason,
        engine="dense" if choice.engine.name == "dense" else "brute", seconds=time.perf_counter() - begun,
        device=str(home(subject.model)[0]), not_finite=lost, ties=int(sweep.answers.ties[:count].sum()),
        self_check=check, notes=notes, rows=rows, columns=columns, offsets=offsets, labels=labels, answers=answers,
        worst_offset=offsets[sweep.answers.worst[:count]],
        margins=sweep.answers.margins[:count], shown_index=index, shown_logits=logits,
        shown_images=subject.images.gather(torch.from_numpy(index)).cpu().numpy(), **found, **described)


def _notes(sweep: Sweep, choice: Choice, check: SelfCheck, training: bool, lost: int) -> list[str]:
    """Say what was given up or left out."""
    subject, count, notes = choice.subject, sweep.count, []
    if training:
        notes.append("the model came in train mode and was audited in eval mode: dropout is off, batch norm uses its "
                     "running statistics")
    if sweep.interrupted:
        notes.append(f"interrupted: the figures are of the first {count:,} of {len(subject.images):,} images")
    if subject.sampled:
        notes.append(f"{len(subject.offsets):,} of {subject.placement.count:,} placements, the middle one and others "
                     "drawn at random: no figure is exact, and the worst case over all placements can only be lower")
    if lost:
        notes.append(f"{lost:,} of {count * len(subject.offsets):,} answers are not finite (NaN or infinity); they "
                     "count as wrong")
    if choice.engine.name == "brute" and not passed(check):
        notes.append(f"computed again, the logits of a random sample lie {check['max_abs_logit_difference']:.3g} "
                     f"apart, more than rounding explains ({check['tolerance']:.3g}): the model does not always answer "
                     "a picture alike")
    return notes


def _doubtful(found: dict[str, Any], classes: int, expected: float | None) -> list[str]:
    """Say where the centred accuracy makes all figures doubtful."""
    centred, (_, high) = found["middle_accuracy"], found["intervals"]["middle_accuracy"]
    remedy = "check that the model wants pixels in [0, 1] and was given its own normalisation (normalize=)"
    if centred < 1.5 / classes:
        return [f"centred accuracy is {100 * centred:.1f} %, near chance ({100 / classes:.1f} %): {remedy}"]
    if expected is not None and high + FAR_BELOW < expected:
        return [f"centred accuracy is {100 * centred:.1f} %, far below the {100 * expected:.1f} % expected: {remedy}"]
    return []
