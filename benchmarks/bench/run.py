"""Runs a benchmark: measures the load of the machine and the times, writes the record and its figures."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.audit import measure_audit
from bench.batches import measure_batches
from bench.figures import bench_figure, growth_figure
from bench.load import LoadWatch
from bench.machine import describe_machine
from bench.record import BUSY, ENOUGH, Bench, Load, is_busy
from bench.settings import BenchSettings
from bench.setup import Measurements, Setup
from bench.synthesis import measure_visualize
from bench.training import measure_training
from shiftscope import files
from shiftscope.data import load_dataset
from shiftscope.devices import resolve_device
from shiftscope.models.registry import check_model_name
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting.figure_style import save_figure
from shiftscope.runs.outputs import figure_files, new_files

MEASURES: dict[str, Callable[[Any, Setup], Measurements]] = {
    "training": measure_training, "audit": measure_audit, "visualize": measure_visualize, "data": measure_batches,
}
"""Measuring function of each benchmark."""


def run_bench(settings: BenchSettings, *, progress: Progress, watch: Callable[[], LoadWatch] = LoadWatch) -> Bench:
    """Measure one part of Shiftscope, and write `bench-NAME.json` and its figures into `settings.out`.

    Args:
        settings: `TrainingBench`, `AuditBench`, `VisualizeBench` or `DataBench`.
        watch: measures the load of other programs before and during the benchmark.

    Raises:
        UsageError: an unknown model or dataset, fewer images than a batch, or a file in `settings.out` exists.
        OutputError: `settings.out` cannot be written; checked before measuring.
    """
    for name in getattr(settings, "model", ()):
        check_model_name(name)
    with new_files(settings.out, _files(settings), overwrite=settings.overwrite):
        return _measured(settings, progress, watch)


def _measured(settings: BenchSettings, progress: Progress, watch: Callable[[], LoadWatch]) -> Bench:
    setup = _open(settings, progress)
    progress.note("measuring the load of the machine")
    watching = watch()
    _note_if_busy(watching.before, progress)
    measurements = MEASURES[settings.bench](settings, setup)
    load = watching.load()
    bench = Bench(
        bench=settings.bench, measured=datetime.now(UTC).isoformat(timespec="seconds"), dataset=setup.data.name,
        synthetic=setup.data.synthetic, repeats=settings.repeats, settings=settings.to_dict(),
        comparisons=measurements.comparisons, growth=measurements.growth, machine=describe_machine(setup.device),
        others=load, busy=is_busy(load),
        notes=[*measurements.notes, *remarks(load, settings.repeats)])
    _save(bench, settings.out)
    return bench


def _files(settings: BenchSettings) -> list[str]:
    name = f"bench-{settings.bench}"
    return [f"{name}.json", *figure_files(name, *([f"{name}-growth"] if settings.growth else []))]


def _open(settings: BenchSettings, progress: Progress) -> Setup:
    """Return images, canvas and device."""
    device = resolve_device(settings.device)
    data = load_dataset(settings.data, data_dir=settings.data_dir, progress=progress,
                        check_size=lambda size: Placement(image=size, canvas=settings.canvas))
    placement = Placement(image=(data.shape[1], data.shape[2]), canvas=settings.canvas)
    return Setup(data=data, placement=placement, device=device, repeats=settings.repeats, progress=progress)


def _note_if_busy(fraction: float | None, progress: Progress) -> None:
    if fraction is not None and fraction > BUSY:
        progress.note(f"other programs use {100 * fraction:.0f} % of the machine; close them, or the record is "
                      "flagged as busy")


def remarks(load: Load, repeats: int) -> list[str]:
    """Return remarks about the conditions of the measurement.

    >>> remarks({"before": 0.0, "during": 0.2, "source": "x"}, 5)
    ['busy machine: other programs used 0 % of it before and 20 % during the benchmark (x); the times are unreliable']
    """
    before, during = ("an unknown fraction" if fraction is None else f"{100 * fraction:.0f} %"
                      for fraction in (load["before"], load["during"]))
    notes = []
    if is_busy(load):
        notes.append(f"busy machine: other programs used {before} of it before and {during} during the benchmark "
                     f"({load['source']}); the times are unreliable")
    elif load["before"] is None and load["during"] is None:
        notes.append("this system does not report the load of other programs; make sure that the machine is idle")
    if repeats < ENOUGH:
        notes.append(f"medians of {repeats} rounds, fewer than {ENOUGH}, are unreliable")
    return notes


def _save(bench: Bench, out: Path) -> None:
    name = f"bench-{bench.bench}"
    files.write_json(out / f"{name}.json", bench.to_dict())
    save_figure(bench_figure(bench), out, name)
    if bench.growth:
        save_figure(growth_figure(bench), out, f"{name}-growth")
