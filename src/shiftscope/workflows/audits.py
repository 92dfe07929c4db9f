"""The end of a run: every placement of the test images, for every model that it trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shiftscope.auditing import audit
from shiftscope.data import Dataset
from shiftscope.errors import CheckpointError, Interrupted
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting.controls import mean_and_spread
from shiftscope.results import Audit
from shiftscope.runs import Job, RunFolder
from shiftscope.settings import RunSettings
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.budget import Budget
from shiftscope.workflows.jobs import JobResult, stored_model

DRAWN_IMAGES = 500
"""Synthetic garments are audited on so many: the demo is to be over within a minute and a half."""

FIGURES = ("mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy")


def audit_jobs(results: Sequence[JobResult], data: Dataset, placement: Placement, run: RunSettings,
               folder: RunFolder, *, progress: Progress, budget: Budget) -> dict[str, Audit]:
    """Audit the model of every job, or take what the run folder holds of it.

    Returns:
        An audit a job, by `Job.key`; none where the settings ask for none, or the time is up before it was begun.

    Raises:
        Interrupted: stopped by a signal; the audits that were done are in the folder.
    """
    if not run.audit:
        return {}
    images = data.limit(run.audit_images or (DRAWN_IMAGES if data.synthetic else None))
    found = {}
    for result in results:
        where = folder.result(result.job.key, "audit")
        made = _stored(where, len(images.test))
        if made is None and budget.begin():
            made = _audit(result, images, placement, folder, where, progress)
        if made is not None:
            found[result.job.key] = made
    return found


def _audit(result: JobResult, images: Dataset, placement: Placement, folder: RunFolder, where: Path,
           progress: Progress) -> Audit:
    job, stop = result.job, StopFlag()
    with stop.listening():
        made = audit(stored_model(job, images, placement, folder), images, placement=placement, name=job.model,
                     trained=result.training.trained, seed=job.seed, stop=stop, progress=progress)
    if stop:
        raise Interrupted(f"interrupted while auditing {job.key}; go on with --resume", stop.exit_code)
    made.save(where)
    return made


def _stored(where: Path, images: int) -> Audit | None:
    """Return the audit in a folder where it is whole and of as many images."""
    try:
        found = Audit.load(where)
    except CheckpointError:
        return None
    return found if found.images == images and not found.partial else None


def audit_summary(audits: Mapping[str, Audit], jobs: Sequence[Job]) -> dict[str, Any]:
    """Return what `metrics.json` says of the audits of one model's seeds; nothing where there are none."""
    made = [audits[job.key] for job in jobs if job.key in audits]
    if not made:
        return {}
    keys = ("images", "placements", "mode", "engine", "seconds", *FIGURES)
    over_seeds = {name: dict(zip(("mean", "std"), mean_and_spread([getattr(part, name) for part in made]),
                                 strict=True)) for name in FIGURES}
    return {"audit": {key: getattr(made[0], key) for key in keys}, "audit_over_seeds": over_seeds}
