"""`shiftscope train`: one model into a run folder."""

from dataclasses import asdict
from pathlib import Path

from shiftscope import files
from shiftscope.devices import resolve_device
from shiftscope.progress import Progress
from shiftscope.results import SCHEMA_VERSION, TrainResult
from shiftscope.runs import Job, RunFolder
from shiftscope.settings import DataSettings, TrainSettings, current_model_name
from shiftscope.workflows.inputs import begin_run, open_data
from shiftscope.workflows.jobs import check_models, check_names, train_job
from shiftscope.workflows.metrics_json import dataset_summary, training_summary


def train_one(model: str, data: DataSettings, settings: TrainSettings, *, device: str = "auto", out: Path,
              resume: bool = False, overwrite: bool = False, progress: Progress,
              command: list[str] | None = None) -> TrainResult:
    """Train one model and leave a run folder with its checkpoint, log and metrics.

    Args:
        model: registry name or package.module:object.
        out: the run folder.
        resume: go on with the run in `out`; a run that was never begun is begun.
        overwrite: replace the run in `out`.

    Raises:
        UsageError: `out` holds a run and neither flag was given, or another run than the one to resume.
        Interrupted: stopped by a signal after saving.
    """
    run, where = RunFolder(out), resolve_device(device)
    model = current_model_name(model)
    check_names([model])
    run.check(resume=resume, overwrite=overwrite)
    images, placement = open_data(data, progress)
    check_models([model], images, placement, settings.preset)
    asked = {"data": asdict(data), "training": settings.to_dict(), "model": model}
    with begin_run(run, images, asked, device=where, seed=settings.seed, command=command or [], resume=resume,
                   overwrite=overwrite, progress=progress):
        job = Job(model=model, seed=settings.seed)
        training, _ = train_job(job, images, placement, settings, run, device=where, progress=progress)
        training.save(run.result(job.key, "training"))
        files.write_json(run.metrics, {
            "schema_version": SCHEMA_VERSION, "dataset": dataset_summary(images, placement), "seed": settings.seed,
            "device": str(where), "models": [training_summary(training)]})
    return training
