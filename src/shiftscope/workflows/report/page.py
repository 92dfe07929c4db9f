"""`shiftscope report` and `shiftscope.report`: one interactive page about the results of one run or several."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.errors import UsageError
from shiftscope.progress import Progress
from shiftscope.reporting import ReportData, control_cells, render_report
from shiftscope.reporting.formatting import model_title
from shiftscope.reporting.selection import first_seeds, group_comparable
from shiftscope.reporting.tables import is_labeled
from shiftscope.results import (
    Attribution,
    Audit,
    Equivariance,
    Evaluation,
    Neighbors,
    Quality,
    Record,
    Synthesis,
    TrainResult,
)
from shiftscope.results.image_table import to_csv
from shiftscope.runs.outputs import require_new_table
from shiftscope.workflows.report.choose import ChosenImages, choose_images
from shiftscope.workflows.report.figures import draw_figures
from shiftscope.workflows.report.gather import ReportContents, gather_runs

SHOWN = (TrainResult, Evaluation, Audit, Equivariance, Synthesis, Neighbors, Quality)
"""Kinds of results that a report shows."""


def report(results: Record | Sequence[Record], path: Path | str = "report.html", *, title: str | None = None) -> Path:
    """Write results as one interactive HTML file that needs no network and no server.

    Args:
        results: what `train`, `evaluate`, `audit` and `visualize` return, in any order; models are shown side by side.
        path: the file; an existing one is replaced.
        title: title of the page.

    Returns:
        The path.

    Raises:
        UsageError: if there are no results, or they are of different datasets.
        OutputError: if the page cannot be written.

    Example:
        >>> import tempfile, torch, shiftscope
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = shiftscope.Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-",
        ...                           license="-")
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 7, 2))
        >>> placement = shiftscope.Placement(image=(4, 4), canvas=(6, 7))
        >>> results = shiftscope.audit(model, data, placement=placement)
        >>> page = report(results, tempfile.mkdtemp() + "/report.html")
        >>> page.read_text().startswith("<!DOCTYPE html>")
        True
    """
    path = Path(path)
    _check_out(path, overwrite=True)
    contents = ReportContents(records=[results] if isinstance(results, Record) else list(results))
    write_page(path, contents, choose_images(audits_of(contents.records)), title=title)
    return path


def report_runs(runs: Sequence[Path], *, out: Path, title: str | None = None, overwrite: bool = False,
                data_dir: Path | None = None, device: str = "auto", progress: Progress) -> Path:
    """Write one page about finished runs: folders that `shiftscope run` or another command with `--out` wrote.

    A model is loaded only if its audit lacks scores of the shown images, and if its checkpoint and the images are
    available. Different models of the same name are labeled with the names of their folders.

    Raises:
        CheckpointError: if a folder is missing, empty, damaged or from another version.
        UsageError: if there are no runs, a folder is a file, the runs are of different datasets, or `out` exists.
        OutputError: if `out` cannot be written.
    """
    if not runs:
        raise UsageError("report needs at least one folder that shiftscope run or another command wrote")
    table = out.with_name(f"{out.stem}-images.csv")
    _check_out(out, overwrite=overwrite)
    require_new_table(table, overwrite=overwrite)
    contents = gather_runs(runs, data_dir=data_dir, device=device, progress=progress)
    images = choose_images(audits_of(contents.records), contents.load_model, progress)
    progress.note("drawing figures and report")
    write_page(out, contents, images, table=table, title=title)
    return out


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: give the file for the page, for instance {out / 'report.html'}")
    if os.path.lexists(out) and not overwrite:
        raise UsageError(f"--out {out} already exists: replace it with --overwrite, or choose another file")


def write_page(path: Path, contents: ReportContents, images: ChosenImages, *, table: Path | None = None,
               title: str | None = None, folder: Path | None = None) -> None:
    """Write the page, and the table of the audited images if `table` is set and there are audits; see `render_page`."""
    shown = [audit for group in group_comparable(images.audits)
             for audit in first_seeds([images.audits[index] for index in group])]
    rows = to_csv(shown) if shown else ""
    files.write_text(path, render_page(contents, images, rows=rows, title=title, folder=folder))
    if table is not None and rows:
        files.write_text(table, rows)


def audits_of(records: Sequence[Record]) -> list[Audit]:
    """Return the audits among results."""
    return [record for record in records if isinstance(record, Audit)]


def render_page(contents: ReportContents, images: ChosenImages, *, rows: str = "", title: str | None = None,
                folder: Path | None = None) -> str:
    """Return the HTML page; if `folder` is set, the figures are also written into it as PNG and SVG.

    The page offers `rows`, a table of all audited images in CSV format, as a download.

    Raises:
        UsageError: if there is nothing to show, or the results are of different datasets.
    """
    records = [record for record in contents.records if isinstance(record, SHOWN)]
    kinds = sorted({record.kind for record in contents.records})
    if not records:
        raise UsageError("a report needs results of training, evaluation, audit or visualization, got "
                         f"{', '.join(kinds) or 'none'}")
    dataset = dataset_of(records) | dict(contents.dataset)
    others = [record for record in records if not isinstance(record, Audit)]
    evaluations = [record for record in records if isinstance(record, Evaluation)]
    models = {audit.model for audit in images.shown}
    maps = [record for record in contents.records if isinstance(record, Attribution) and record.model in models]
    omitted = [kind for kind in kinds if kind not in {record.kind for record in (*records, *maps)}]
    return render_report(ReportData(
        title=title or f"Does {'accuracy' if is_labeled(images.shown) else 'the prediction'} depend on position?",
        dataset=dataset, environment=contents.environment, audits=images.shown, evaluations=evaluations,
        image_rows=rows, attributions=maps,
        training=[record for record in records if isinstance(record, TrainResult)],
        controls=control_cells(evaluations),
        figures=draw_figures([*others, *images.audits], contents.figures, dataset, folder),
        parameters={model_title(model): rows for model, rows in contents.parameters.items()},
        notes=contents.notes, remarks=[*contents.remarks, *images.notes, *(
            f"Results of the kind {kind} are not included; their figures are in the folder of the results."
            for kind in omitted)]))


def dataset_of(records: Sequence[Record]) -> dict[str, Any]:
    """Return the description of the dataset in results, by the keys of `ReportData.dataset`.

    Raises:
        UsageError: if the results are of different datasets.
    """
    known: dict[str, Any] = {}
    for record in records:
        placement = getattr(record, "placement", None)
        values = {"name": getattr(record, "dataset", None), "synthetic": getattr(record, "synthetic", None),
                  "class_names": getattr(record, "class_names", None),
                  "canvas": placement.get("canvas") if isinstance(placement, Mapping) else None}
        values = {key: value for key, value in values.items() if value or value is False}
        for key in ("name", "class_names"):
            if key in values and known.get(key, values[key]) != values[key]:
                raise UsageError(f"the results are of different datasets, {known.get('name')} and "
                                 f"{values.get('name')}: make one report for each")
        known = values | known
    return known
