"""`shiftscope run`: from a dataset to trained, evaluated models, figures and a report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from shiftscope import files
from shiftscope.data import Dataset
from shiftscope.devices import resolve_device
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting import ControlCell, ReportData, control_cells, render_report, thing
from shiftscope.results import Audit
from shiftscope.runs import RunFolder
from shiftscope.settings import DataSettings, RunSettings, TrainSettings
from shiftscope.workflows.audits import audit_jobs
from shiftscope.workflows.budget import Budget
from shiftscope.workflows.inputs import begin_run, open_data
from shiftscope.workflows.jobs import Job, JobResult, check_models, do_job
from shiftscope.workflows.metrics_json import dataset_summary, run_metrics
from shiftscope.workflows.pictures import run_figures

CONTROL = "two-full"
"""The model whose centred twin is always trained: what moving costs is the first lesson."""


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
    images, placement = open_data(data, progress)
    check_models(run.models, images, placement)
    settings = TrainSettings(epochs=run.epochs, seed=run.seed)
    asked = {"data": asdict(data), "run": asdict(run)}
    environment = begin_run(folder, images, asked, device=device, seed=run.seed, command=command or [],
                            resume=run.resume, overwrite=run.overwrite)
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
    write_report(folder, images, placement, results, cells, audits, environment, run.seed)
    return metrics


def jobs_of(run: RunSettings) -> list[Job]:
    """Return the trainings of a run, seed by seed, each control right after its model.

    >>> [job.key for job in jobs_of(RunSettings())]
    ['two-full-seed0', 'two-full-centred-seed0', 'two-conv-seed0']
    """
    jobs = []
    for seed in range(run.seed, run.seed + run.seeds):
        for model in run.models:
            jobs.append(Job(model=model, seed=seed))
            if run.controls or model == CONTROL:
                jobs.append(Job(model=model, seed=seed, centred=True))
    return jobs


def write_report(folder: RunFolder, data: Dataset, placement: Placement, results: Sequence[JobResult],
                 cells: Sequence[ControlCell], audits: Mapping[str, Audit], environment: dict[str, Any],
                 seed: int) -> None:
    """Draw the figures of a run and write its `report.html`."""
    shown = run_figures(data, placement, results, cells, audits, folder, seed)
    html = render_report(ReportData(
        title=f"Does it care where the {thing(data.name)} is?", dataset=dataset_summary(data, placement),
        environment=environment, controls=cells,
        training=[result.training for result in results],
        evaluations=[part for result in results for part in (result.test, result.train)],
        audits=list(audits.values()), figures=shown.figures, parameters=shown.parameters, notes=shown.notes))
    files.write_text(folder.report, html)
