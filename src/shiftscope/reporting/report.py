"""The HTML report of a run: one self-contained page."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from shiftscope.errors import unknown
from shiftscope.files import plain
from shiftscope.reporting.confusion import confusion_payload
from shiftscope.reporting.controls import ControlCell, headline
from shiftscope.reporting.curves import curves_payload
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.figure_style import alt_text, render_figure
from shiftscope.reporting.formatting import MISSING, image_credit, series_title
from shiftscope.reporting.tables import AUDIT_COLUMNS, audit_rows, control_tables, model_rows, parameter_cells
from shiftscope.reporting.web_page import asset, render_page, script_json
from shiftscope.results import Attribution, Audit, Evaluation, ParameterRow, TrainResult

SECTIONS = ("samples", "controls", "audit", "curves", "confusion", "classified", "classes", "neurons", "weights",
            "parameters")
"""Sections with figures, in reading order."""


@dataclass(frozen=True)
class ReportFigure:
    """One figure of the report.

    Raises:
        UsageError: if there is no such section.
    """

    section: str
    """One of `SECTIONS`."""
    png: bytes
    alt: str
    """Alternative text."""
    caption: str

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise unknown("section of the report", self.section, SECTIONS)

    @property
    def uri(self) -> str:
        """The figure as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def report_figure(section: str, figure: Figure, caption: str) -> ReportFigure:
    """Return a rendered figure with its own alternative text."""
    return ReportFigure(section, render_figure(figure, "png"), alt_text(figure), caption)


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Contents of a report.

    Known keys of the dataset are name, synthetic, source, license, class_names, train_images, test_images, image
    (C, h, w), canvas (H, W) and checksums; all are optional. The environment is any JSON, for instance `env.json`.
    """

    title: str
    dataset: Mapping[str, Any]
    training: Sequence[TrainResult] = ()
    """All seeds, including controls."""
    evaluations: Sequence[Evaluation] = ()
    """All seeds, including controls; on the test and on the training set."""
    controls: Sequence[ControlCell] = ()
    audits: Sequence[Audit] = ()
    """Their figures are in section "audit"."""
    attributions: Sequence[Attribution] = ()
    """Maps for images of the audits."""
    image_rows: str = ""
    """All audited images in CSV format, for a download."""
    figures: Mapping[str, ReportFigure] = field(default_factory=dict)
    """By name; the order within a section is kept."""
    parameters: Mapping[str, Sequence[ParameterRow]] = field(default_factory=dict)
    """Parameters of each model, by display name."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    """Sentences for the reader, for instance warnings."""


def render_report(data: ReportData) -> str:
    """Return the report as one HTML page that needs no network and no other file.

    Its Content-Security-Policy allows only its own script, its own style and inlined images. Interactive views also
    have a static figure for browsers without JavaScript and for printing.
    """
    synthetic = bool(data.dataset.get("synthetic", False))
    figures = {section: [(key, figure) for key, figure in data.figures.items() if figure.section == section]
               for section in SECTIONS}
    return render_page(
        "template.html", style=asset("style.css") + asset("explorer.css"), title=data.title, figures=figures,
        views=_views(data),
        headline=headline(data.controls), rows=model_rows(data.training, data.evaluations),
        tables=control_tables(data.controls), audits=audit_rows(data.audits), audit_columns=list(AUDIT_COLUMNS),
        parameters={model: parameter_cells(rows) for model, rows in data.parameters.items()},
        credit=image_credit(str(data.dataset.get("name", "unknown")), synthetic=synthetic,
                            preparation=str(data.dataset.get("preparation", ""))), synthetic=synthetic,
        facts=_facts(data), settings=_settings(data.training), notes=_notes(data),
        seeds=max((cell.seeds for cell in data.controls), default=1))


def _views(data: ReportData) -> dict[str, Markup]:
    """The JSON of each interactive view that has data."""
    payloads = {"explorer": explorer_payload(data.audits, data.attributions, rows=data.image_rows),
                "confusion": confusion_payload(data.evaluations),
                "curves": {"curves": [curve for curve in curves_payload(data.training) if curve["epochs"]]}}
    return {view: Markup(script_json(payload)) for view, payload in payloads.items() if any(payload.values())}


def _notes(data: ReportData) -> list[str]:
    """The notes of the run, then those of its results with the model's name.

    Notes of one model that differ only after the first colon are shown once.
    """
    results = (*data.training, *(one for one in data.evaluations if one.split != "train"), *data.audits)
    by_start: dict[tuple[str, str], str] = {}
    for result in results:
        title = series_title(result.model, result.trained)
        for note in result.notes:
            by_start.setdefault((title, note.partition(":")[0]), f"{title}: {note}")
    nonfinite = [f"{one.model}: the output for {one.nonfinite:,} of {one.images:,} {one.split} images is not finite; "
                 "these predictions count as incorrect." for one in data.evaluations if one.nonfinite]
    return list(dict.fromkeys([*data.notes, *by_start.values(), *nonfinite]))


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """(name, value) of the dataset, then of the environment, with nested keys joined."""
    labels = {"name": "dataset", "source": "source", "license": "license", "train_images": "training images",
              "test_images": "test images", "image": "image size (channels, height, width)",
              "canvas": "canvas (height, width)", "class_names": "classes"}
    facts = [(label, readable(data.dataset[key])) for key, label in labels.items() if key in data.dataset]
    placement = next((result.placement for result in data.training), None)
    facts += [("placement", readable(placement))] if placement else []
    return facts + _flatten(data.environment) + _flatten({"sha-256": data.dataset.get("checksums", {})})


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        facts += _flatten(value, f"{name}: ") if isinstance(value, Mapping) else [(name, readable(value))]
    return facts


def readable(value: Any) -> str:
    """Return a plain value as text for a table.

    >>> readable((56, 56)), readable(None), readable({"mode": "canvas"})
    ('56, 56', '–', 'mode canvas')
    """
    value = plain(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {readable(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(readable(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return MISSING if value is None else str(value)


def _settings(training: Sequence[TrainResult]) -> list[tuple[str, str]]:
    """(model, training settings as text), once per model and training placement."""
    settings: dict[str, str] = {}
    for result in training:
        values = {key: value for key, value in result.settings.items() if key != "seed" and value is not None}
        settings.setdefault(f"{result.model}, trained {result.trained}", readable(values))
    return list(settings.items())
