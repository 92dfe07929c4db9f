"""`shiftscope run`."""

from typing import Annotated, Any

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import DATA, ONE_PROCESS, OUTPUT, RUN, DataFlags, OutputFlags, ProcessFlags, RunFlags
from shiftscope.progress import default_progress


def run(*, data: DataFlags = DATA, run: RunFlags = RUN, output: OutputFlags = OUTPUT,
        processes: ProcessFlags = ONE_PROCESS, command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Train the course models on images at random places, evaluate them, and write a report.

    The folder --out then holds report.html, metrics.json, the figures and one checkpoint a model. Ended by --max-time,
    it holds what is done by then; the same line with --resume goes on.
    """
    from shiftscope.workflows.train_models import run_models

    with shown.clean_stdout(output.json):
        metrics = run_models(data, run, progress=default_progress(quiet=output.quiet), command=command)
    if output.json:
        shown.write_document(metrics)
        return
    if metrics["models"] or metrics["controls"]:
        show_accuracies(metrics)
    shown.write_path(run.out / ("metrics.json" if metrics["paused"] else "report.html"))


def show_accuracies(metrics: dict[str, Any]) -> None:
    """Print one row a trained model: accuracy at random places and centered, and the time it took."""
    rows = [_row(model, "random places") for model in metrics["models"]]
    rows += [_row(model, "centered") for model in metrics["controls"]]
    columns = ("tested at random places", "tested centered", "seconds of training")
    shown.write_table(("model", "trained", *columns), rows, title="Accuracy on the test images", numbers=columns)


def _row(model: dict[str, Any], trained: str) -> tuple[str, ...]:
    seeds = model["seeds"]
    accuracies = [_accuracy(model["test_accuracy_over_seeds"][which], len(seeds)) for which in ("random", "centered")]
    return model["name"], trained, *accuracies, f"{sum(seed['train_seconds'] for seed in seeds):.0f}"


def _accuracy(over_seeds: dict[str, Any], seeds: int) -> str:
    """The accuracy of one seed, or mean and sample standard deviation of several."""
    mean = shown.percent(over_seeds["mean"])
    return mean if seeds == 1 else f"{mean} ± {100 * over_seeds['std']:.1f}"
