"""`shiftscope report` and `shiftscope.report`: one interactive page from results, of one run or of several."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.errors import UsageError
from shiftscope.progress import Progress
from shiftscope.reporting import ReportData, control_cells, image_credit, render_report
from shiftscope.reporting.selection import first_seeds
from shiftscope.results import Audit, Equivariance, Evaluation, Neighbors, Quality, Record, Synthesis, TrainResult
from shiftscope.workflows.figure_shelf import Shelf
from shiftscope.workflows.looks import learned_from
from shiftscope.workflows.record_figures import (
    Seen,
    audits_figures,
    controls_figure,
    curves_figure,
    evaluation_figures,
    synthesis_figures,
)
from shiftscope.workflows.run_contents import RunContents, merged, read_run
from shiftscope.workflows.shared_images import share_images, shown_alike
from shiftscope.workflows.stored_models import asked_of

SHOWN = (TrainResult, Evaluation, Audit, Equivariance, Synthesis, Neighbors, Quality)
"""Kinds of results that a report shows."""


@dataclass(frozen=True, kw_only=True)
class Around:
    """What stands in a report beside results: where they come from."""

    title: str | None = None
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """See `ReportData`; what results tell themselves is added."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def report(results: Record | Sequence[Record], path: Path | str = "report.html", *, title: str | None = None) -> Path:
    """Write a page that shows results: one file, interactive, without network or server.

    Args:
        results: what `train`, `evaluate`, `audit` and `visualize` return, in any order; models stand side by side.
        path: the page, replaced where there is one.
        title: its headline.

    Returns:
        The path.

    Raises:
        UsageError: no results, or of different datasets.
        OutputError: the page cannot be written.

    Example:
        >>> import tempfile, torch, shiftscope
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = shiftscope.Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-",
        ...                           license="-")
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 7, 2))
        >>> place = shiftscope.Placement(image=(4, 4), canvas=(6, 7))
        >>> found = [shiftscope.audit(model, data, placement=place), shiftscope.evaluate(model, data, placement=place)]
        >>> page = report(found, tempfile.mkdtemp() + "/report.html")
        >>> page.read_text().startswith("<!DOCTYPE html>")
        True
    """
    records = [results] if isinstance(results, Record) else list(results)
    path = Path(path)
    _check_out(path, overwrite=True)
    files.write_text(path, page(records, Shelf(None), Around(title=title)))
    return path


def report_runs(runs: Sequence[Path], *, out: Path, title: str | None = None, overwrite: bool = False,
                data_dir: Path | None = None, device: str = "auto", progress: Progress) -> Path:
    """Write one page about finished runs: folders that `shiftscope run` or another command with `--out` left.

    Figures are drawn again from the results. A model is asked again only for scores of images that the page shows and
    its audit did not keep, where its checkpoint and the images are still there.

    Args:
        runs: the folders; models of the same name in different ones are told apart by the folder's name.
        out: the page.
        title: its headline.
        overwrite: replace a page that is there.
        data_dir: folder with the dataset's files.

    Raises:
        CheckpointError: a folder is missing, empty, damaged or from another version.
        UsageError: no runs; a file instead of a folder; runs of different datasets; `out` is there.
        OutputError: `out` cannot be written.
    """
    if not runs:
        raise UsageError("report needs at least one folder that shiftscope run or another command wrote")
    _check_out(out, overwrite=overwrite)
    found = merged([read_run(run) for run in runs])
    shelf = Shelf(None)
    found.put_pictures(shelf)
    records, notes = _completed(found, data_dir, device, progress)
    progress.note("drawing figures and report")
    files.write_text(out, page(records, shelf, Around(
        title=title, dataset=found.dataset, environment=found.environment, notes=[*found.notes, *notes])))
    return out


def _check_out(out: Path, *, overwrite: bool) -> None:
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder: give the file for the page, for instance {out / 'report.html'}")
    if os.path.lexists(out) and not overwrite:
        raise UsageError(f"--out {out} is there already: say --overwrite to replace it, or choose another file")


def _completed(found: RunContents, data_dir: Path | None, device: str,
               progress: Progress) -> tuple[list[Record], list[str]]:
    """Return all results, audits with the images that the page shows; and what could not be completed."""
    stored = [one for one in found.stored if isinstance(one.record, Audit)]
    audits = [one.record for one in stored if isinstance(one.record, Audit)]
    shared, notes = share_images(audits, lambda place: asked_of(stored[place], data_dir, device, progress), progress)
    others = [one.record for one in found.stored if not isinstance(one.record, Audit)]
    return [*others, *shared], notes


def page(records: Sequence[Record], shelf: Shelf, around: Around) -> str:
    """Return the page about results.

    Args:
        records: of any kinds, in any order.
        shelf: what is to be shown besides; figures are added to it.
        around: dataset and environment, where they are known.

    Raises:
        UsageError: nothing to show, or results of different datasets.
    """
    shown = [record for record in records if isinstance(record, SHOWN)]
    if not shown:
        raise UsageError("a report needs results of training, evaluation, audit or visualization, got "
                         f"{', '.join(sorted({record.kind for record in records})) or 'none'}")
    dataset = dict(described(shown)) | dict(around.dataset)
    training, evaluations, audits = (_of(kind, shown) for kind in (TrainResult, Evaluation, Audit))
    cells = control_cells(evaluations)
    _draw(shown, shelf, str(dataset.get("name", "unknown images")), synthetic=bool(dataset.get("synthetic")))
    left_out = sorted({record.kind for record in records if not isinstance(record, SHOWN)})
    notes = [f"Not shown here: results of the kind {kind}; their figures lie beside them." for kind in left_out]
    return render_report(ReportData(
        title=around.title or "Does accuracy depend on position?", dataset=dataset,
        training=training, evaluations=evaluations, controls=cells, audits=shown_alike(audits), figures=shelf.figures,
        parameters=shelf.parameters, environment=around.environment, notes=[*around.notes, *shelf.notes, *notes]))


def _of(kind: type[Any], records: Sequence[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def described(records: Sequence[Record]) -> dict[str, Any]:
    """Return what results tell of their dataset, by the keys of `ReportData.dataset`.

    Raises:
        UsageError: they are of different datasets.
    """
    found: dict[str, Any] = {}
    for record in records:
        told = {key: value for key, value in (
            ("name", getattr(record, "dataset", None)), ("synthetic", getattr(record, "synthetic", None)),
            ("class_names", getattr(record, "class_names", None)), *_sizes(record)) if value or value is False}
        for key in ("name", "class_names"):
            if key in told and found.get(key, told[key]) != told[key]:
                raise UsageError(f"the results are of different datasets, {found.get('name')} and {told.get('name')}: "
                                 "make a report of each")
        found = told | found
    return found


def _sizes(record: Record) -> list[tuple[str, Any]]:
    place = getattr(record, "placement", None) or {}
    return [("canvas", place.get("canvas"))] if isinstance(place, Mapping) else []


def _draw(records: Sequence[Record], shelf: Shelf, dataset: str, *, synthetic: bool) -> None:
    """Draw the figures of all results, of several seeds those of the first."""
    evaluations = _of(Evaluation, records)
    controls_figure(control_cells(evaluations), shelf, credit=image_credit(dataset, synthetic=synthetic))
    audits_figures(first_seeds(_of(Audit, records)), shelf, _of(Equivariance, records))
    curves_figure(_of(TrainResult, records), shelf)
    for evaluation in first_seeds(sorted(evaluations, key=lambda one: one.split != "test")):
        alone = all(other.trained == "centered" for other in evaluations if other.model == evaluation.model)
        if evaluation.trained != "centered" or alone:
            evaluation_figures(evaluation, shelf)
    for seen in seen_together(records):
        synthesis_figures(seen, shelf, credit="" if dataset == "unknown images" else learned_from(dataset, synthetic=synthetic))


def seen_together(records: Sequence[Record]) -> list[Seen]:
    """Return each synthesis with the real images and the figures of merit of the same model and units."""
    def beside(synthesis: Synthesis, kind: type[Any]) -> Any:
        return next((record for record in _of(kind, records) if (record.model, record.objective, record.units) == (
            synthesis.model, synthesis.objective, synthesis.units)), None)

    return [Seen(synthesis=synthesis, neighbors=beside(synthesis, Neighbors), quality=beside(synthesis, Quality))
            for synthesis in _of(Synthesis, records)]
