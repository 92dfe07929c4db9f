"""`shiftscope run` and `shiftscope train`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import (
    DATA,
    FOLDER,
    ONE_PROCESS,
    OUTPUT,
    RUN,
    TRAIN,
    DataFlags,
    FolderFlags,
    OutputFlags,
    ProcessFlags,
    RunFlags,
    TrainFlags,
)


def run(*, data: DataFlags = DATA, run: RunFlags = RUN, output: OutputFlags = OUTPUT,
        processes: ProcessFlags = ONE_PROCESS, command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Train the course models on images at random positions, evaluate them, and write a report.

    The folder --out contains report.html, metrics.json, the figures and one checkpoint per model. If --max-time ends
    the run, the same command with --resume continues it.
    """
    from shiftscope.workflows.train_models import run_models

    with shown.clean_stdout(output.json):
        metrics = run_models(data, run, progress=output.progress(), command=command)
    if output.json:
        shown.write_document(metrics)
        return
    if metrics["models"] or metrics["controls"]:
        show_accuracies(metrics)
    shown.write_path(run.out / ("metrics.json" if metrics["paused"] else "report.html"))


def show_accuracies(metrics: dict[str, Any]) -> None:
    """Print one row per trained model: accuracy on random and centered placements, and the training time."""
    rows = [_row(model, "random") for model in metrics["models"]]
    rows += [_row(model, "centered") for model in metrics["controls"]]
    columns = ("tested random", "tested centered", "seconds of training")
    shown.write_table(("model", "trained", *columns), rows, title="Accuracy on the test images, by placement",
                      numbers=columns)


def _row(model: dict[str, Any], trained: str) -> tuple[str, ...]:
    seeds = model["seeds"]
    accuracies = [_accuracy(model["test_accuracy_over_seeds"][which], len(seeds)) for which in ("random", "centered")]
    return model["name"], trained, *accuracies, f"{sum(seed['train_seconds'] for seed in seeds):.0f}"


def _accuracy(over_seeds: dict[str, Any], seeds: int) -> str:
    """Return the accuracy of one seed, or mean and sample standard deviation of several."""
    mean = shown.percent(over_seeds["mean"])
    return mean if seeds == 1 else f"{mean} ± {100 * over_seeds['std']:.1f}"


def train(model: str, /, *, data: DataFlags = DATA, settings: TrainFlags = TRAIN, folder: FolderFlags = FOLDER,
          output: OutputFlags = OUTPUT, processes: ProcessFlags = ONE_PROCESS,
          command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Train one model; Ctrl-C saves it, and --resume continues.

    Args:
        model: two-full (perceptron), two-conv (convnet), or package.module:object for your own.
    """
    from shiftscope.runs import slug
    from shiftscope.workflows.train_models import train_one

    out = folder.out or Path("shiftscope-train") / slug(model)
    with shown.clean_stdout(output.json):
        result = train_one(model, data, settings, device=folder.device, out=out, resume=folder.resume,
                           overwrite=folder.overwrite, progress=output.progress(), command=command)
    if output.json:
        shown.write_document(result.to_dict())
    else:
        shown.write_path(out / (result.checkpoint or ""))
