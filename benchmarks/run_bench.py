"""Measure the speed of Shiftscope on this machine, interleaved with common ways to do the same work.

    python benchmarks/run_bench.py training --data fashion-mnist     # also: audit, visualize, data

`--growth` measures the exponents as well. Each part writes a record and its figures into `--out`.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bench.settings import AuditBench, BenchSettings, DataBench, TrainingBench, VisualizeBench
from command_line import command_app, run_app
from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, OutputFlags
from shiftscope.progress import default_progress

if TYPE_CHECKING:
    from bench.record import Bench, Comparison, Contestant, GrowthLine

Flat = Parameter(name="*")

TRAINING, AUDIT, VISUALIZE, BATCHES = TrainingBench(), AuditBench(), VisualizeBench(), DataBench()


def bench_training(*, settings: Annotated[TrainingBench, Flat] = TRAINING, output: OutputFlags = OUTPUT) -> None:
    """Measure an epoch of training: the course notebook, ours, steps on a prepared batch, and the arithmetic alone."""
    _bench(settings, output)


def bench_audit(*, settings: Annotated[AuditBench, Flat] = AUDIT, output: OutputFlags = OUTPUT) -> None:
    """Measure the audit of an image at every placement: the dense engine, brute force, and a plain script."""
    _bench(settings, output)


def bench_visualize(*, settings: Annotated[VisualizeBench, Flat] = VISUALIZE, output: OutputFlags = OUTPUT) -> None:
    """Measure the synthesis of all units of a layer: in one batch, and one by one."""
    _bench(settings, output)


def bench_data(*, settings: Annotated[DataBench, Flat] = BATCHES, output: OutputFlags = OUTPUT) -> None:
    """Measure an epoch of batches without a model: one gather per batch, and PIL with a DataLoader."""
    _bench(settings, output)


def _bench(settings: BenchSettings, output: OutputFlags) -> None:
    from bench.run import run_bench

    with shown.clean_stdout(output.json):
        result = run_bench(settings, progress=default_progress(quiet=output.quiet))
    if output.json:
        shown.write_document(result.to_dict())
        return
    show_bench(result)
    shown.write_path(settings.out)


def show_bench(result: "Bench") -> None:
    """Print one table per comparison, the exponents of growth, and notes."""
    for part in result.comparisons:
        _show_comparison(part)
    if result.growth:
        shown.write_table(("growth of time", "against", "from", "to", "exponent", "at the end"),
                          map(_growth_row, result.growth), numbers=("from", "to", "exponent", "at the end"))
    machine = result.machine
    shown.write_line(f"medians of {result.repeats} rounds on {machine['processor']}, {machine['cores']} cores, "
                     f"{machine['threads']} threads, {machine['device']}, torch {machine['torch']}")
    for note in result.notes:
        shown.write_line(note)


def _show_comparison(part: "Comparison") -> None:
    rows = [_row(one, part) for one in part["contestants"]]
    columns = ("median", "least", "most", "times ours")
    shown.write_table(("method", *columns), rows, numbers=columns, title=f"{part['title']}: {part['unit']}")
    figures = ", ".join(f"{name.replace('_', ' ')} {_number(name, value)}" for name, value in part["figures"].items())
    if figures:
        shown.write_line(f"  {figures}\n")


def _row(one: "Contestant", part: "Comparison") -> tuple[str, ...]:
    times = (one["median"], min(one["seconds"]), max(one["seconds"]))
    ratio = part["ratios"].get(one["name"])
    return (one["name"], *(f"{value:.4g}" for value in times), "" if ratio is None else f"{ratio:.2f}")


def _growth_row(line: "GrowthLine") -> tuple[str, ...]:
    exponents = ("-" if k is None else f"{k:.2f}" for k in (line["exponent"], line["exponent_end"]))
    return line["title"], line["axis"], f"{line['values'][0]:,.0f}", f"{line['values'][-1]:,.0f}", *exponents


def _number(name: str, value: Any) -> str:
    return shown.percent(value) if name.endswith("share") else f"{value:,.4g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark and return the exit code."""
    app = command_app("run_bench.py",
                      "Measure the speed of Shiftscope, interleaved with common ways to do the same work.")
    for name, function in (("training", bench_training), ("audit", bench_audit), ("visualize", bench_visualize),
                           ("data", bench_data)):
        app.command(function, name=name)
    return run_app(app, arguments, "benchmarks/run_bench.py")


if __name__ == "__main__":
    sys.exit(main())
