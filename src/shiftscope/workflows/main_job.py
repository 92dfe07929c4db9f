"""`shiftscope run`: from a dataset to trained, evaluated models, figures and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from shiftscope import files
from shiftscope.data import Dataset
from shiftscope.devices import resolve_device
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting import ControlCell, ReportData, control_cells, render_report, save_figure
from shiftscope.results import Audit
from shiftscope.runs import RunFolder, jobs_of
from shiftscope.settings import DataSettings, RunSettings, TrainSettings
from shiftscope.workflows.audits import audit_jobs
from shiftscope.workflows.budget import Budget
from shiftscope.workflows.inputs import begin_run, open_data
from shiftscope.workflows.jobs import JobResult, check_models, check_names, do_job, stored_model
from shiftscope.workflows.metrics_json import dataset_summary, run_metrics
from shiftscope.workflows.pictures import run_figures, samples_figure
from shiftscope.workflows.shared_images import Asked, share_images, shown_alike


def run_main_job(data: DataSettings, run: RunSettings, *, progress: Progress,
                 command: list[str] | None = None) -> dict[str, Any]:
    """Train every model with every seed, evaluate, draw and report; leave all of it in `run.out`.

    With `run.max_time` it pauses when the time is up: what is done is saved and stands in `metrics.json`, figures and
    report are made by the call that finishes the rest, see `Budget`.

    Args:
        data: which images, and how they lie.
        run: which models, seeds and folder.
        command: the command line, for `env.json`.

    Returns:
        What `metrics.json` holds; its keys are made in `workflows/metrics_json.py`.

    Raises:
        UsageError: unknown names; a folder that holds another run.
        Interrupted: stopped by a signal after saving; `resume` goes on.
    """
    budget, folder, device = Budget(run.max_time), RunFolder(run.out), resolve_device(run.device)
    check_names(run.models)
    folder.check(resume=run.resume, overwrite=run.overwrite)
    images, placement = open_data(data, progress)
    check_models(run.models, images, placement)
    asked = {"data": asdict(data), "run": asdict(run)}
    with begin_run(folder, images, asked, device=device, seed=run.seed, command=command or [], resume=run.resume,
                   overwrite=run.overwrite, progress=progress) as environment:
        return _do_run(run, folder, images, placement, device, environment, budget, progress)


def _do_run(run: RunSettings, folder: RunFolder, images: Dataset, placement: Placement, device: torch.device,
            environment: dict[str, Any], budget: Budget, progress: Progress) -> dict[str, Any]:
    """Do in a claimed folder what `run_main_job` says."""
    settings = TrainSettings(epochs=run.epochs, seed=run.seed)
    save_figure(samples_figure(images, placement, run.seed), folder.figures, "samples")  # for those who watch
    jobs = jobs_of(run)
    done = [do_job(job, images, placement, settings, folder, device=device, progress=progress, budget=budget)
            for job in jobs]
    results = [result for result in done if result is not None]
    audits = audit_jobs(results, images, placement, run, folder, progress=progress, budget=budget)
    paused = budget.paused((len(results), len(jobs)), (len(audits), len(jobs) if run.audit else 0))
    cells = control_cells([result.test for result in results])
    metrics = run_metrics(images, placement, results, cells, audits, seed=run.seed, device=str(device), paused=paused)
    files.write_json(folder.metrics, metrics)
    if paused is not None:
        progress.note(paused)
        return metrics
    progress.note("drawing figures and report")
    audits, notes = share_of_run(results, audits, images, placement, folder, progress)
    write_report(folder, images, placement, results, cells, audits, environment, run.seed, notes)
    return metrics


def write_report(folder: RunFolder, data: Dataset, placement: Placement, results: Sequence[JobResult],
                 cells: Sequence[ControlCell], audits: Mapping[str, Audit], environment: dict[str, Any],
                 seed: int, notes: Sequence[str] = ()) -> None:
    """Draw the figures of a run and write its `report.html`.

    Args:
        audits: by the key of their job, see `share_of_run`.
        notes: sentences that a reader should know.
    """
    shown = run_figures(data, placement, results, cells, audits, folder, seed)
    html = render_report(ReportData(
        title="Does accuracy depend on position?", dataset=dataset_summary(data, placement),
        environment=environment, controls=cells,
        training=[result.training for result in results],
        evaluations=[part for result in results for part in (result.test, result.train)],
        audits=shown_alike(list(audits.values())), figures=shown.figures, parameters=shown.parameters,
        notes=[*notes, *shown.notes]))
    files.write_text(folder.report, html)


def share_of_run(results: Sequence[JobResult], audits: Mapping[str, Audit], data: Dataset, placement: Placement,
                 folder: RunFolder, progress: Progress) -> tuple[dict[str, Audit], list[str]]:
    """Let the audits of a run show the same images; what was added to one is stored with it.

    Returns:
        All audits, by the key of their job, and notes, see `share_images`.
    """
    jobs = [result.job for result in results if result.job.key in audits]

    def ask(place: int) -> Asked:
        return Asked(model=stored_model(jobs[place], data, placement, folder), data=data, placement=placement)

    found, notes = share_images([audits[job.key] for job in jobs], ask, progress)
    for job, audit in zip(jobs, found, strict=True):
        if audit is not audits[job.key]:
            audit.save(folder.result(job.key, "audit"))
    return {job.key: audit for job, audit in zip(jobs, found, strict=True)}, notes
