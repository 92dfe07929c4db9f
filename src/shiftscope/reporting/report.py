"""The report: results in, one self-contained HTML page out."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from shiftscope.errors import unknown
from shiftscope.files import plain
from shiftscope.reporting.assets import asset, digest
from shiftscope.reporting.audit_table import COLUMNS, audit_rows
from shiftscope.reporting.cells import ControlCell
from shiftscope.reporting.confused import confusion_payload
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.histories import histories
from shiftscope.reporting.page_data import script_json
from shiftscope.reporting.parameters import parameter_cells
from shiftscope.reporting.save import render_figure
from shiftscope.reporting.story import conclusion
from shiftscope.reporting.style import alt_text
from shiftscope.reporting.tables import control_tables, model_rows
from shiftscope.reporting.wording import MISSING, image_credit, series_title, thing
from shiftscope.results import Audit, Evaluation, ParameterRow, TrainResult

SECTIONS = ("samples", "controls", "audit", "curves", "confusion", "classified", "classes", "neurons", "weights",
            "parameters")
"""Where a figure can stand in the report, in reading order."""


@dataclass(frozen=True)
class ReportFigure:
    """One picture of the report.

    Raises:
        UsageError: no such section.
    """

    section: str
    """One of `SECTIONS`."""
    png: bytes
    alt: str
    """What the picture shows in words, for people who cannot see it."""
    caption: str

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise unknown("section of the report", self.section, SECTIONS)

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


def report_figure(section: str, figure: Figure, caption: str) -> ReportFigure:
    """Return a figure ready for the report, with its own words for those who cannot see it."""
    return ReportFigure(section, render_figure(figure, "png"), alt_text(figure), caption)


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that a report shows.

    The dataset is described by the keys name, drawn, source, license, class_names, train_images, test_images, image
    (C, h, w), canvas (H, W) and checksums; a missing one is left out. The environment is any JSON, for
    instance what `env.json` holds.
    """

    title: str
    dataset: Mapping[str, Any]
    training: Sequence[TrainResult] = ()
    """All seeds, controls included."""
    evaluations: Sequence[Evaluation] = ()
    """All seeds, controls included; on the test and on the training set."""
    controls: Sequence[ControlCell] = ()
    audits: Sequence[Audit] = ()
    """What the models answer at every placement; their figures belong into the section "audit"."""
    figures: Mapping[str, ReportFigure] = field(default_factory=dict)
    """By name; a section shows its figures in this order."""
    parameters: Mapping[str, Sequence[ParameterRow]] = field(default_factory=dict)
    """The table of parameters of each model, by its name for people."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    """Sentences that a reader should know, for instance warnings."""


def render_report(data: ReportData) -> str:
    """Return the report as one HTML page that needs no network and no other file.

    The page carries a strict Content-Security-Policy: only its own script, its own style and inlined pictures; no
    request. What its script draws stands there as a picture too, for browsers without JavaScript and for paper.
    """
    style, script = asset("style.css") + asset("explorer.css"), asset("app.js") + "startPage(document);\n"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    name = str(data.dataset.get("name", "unknown"))
    synthetic = bool(data.dataset.get("synthetic", False))
    figures = {section: [(key, figure) for key, figure in data.figures.items() if figure.section == section]
               for section in SECTIONS}
    return environment.from_string(asset("template.html")).render(
        title=data.title, style=Markup(style), script=Markup(script), digests={
            "style": digest(style), "script": digest(script)}, data=data, figures=figures, views=_views(data),
        conclusion=conclusion(data.controls, name), rows=model_rows(data.training, data.evaluations),
        tables=control_tables(data.controls), audits=audit_rows(data.audits), audit_columns=list(COLUMNS),
        parameters={model: parameter_cells(rows) for model, rows in data.parameters.items()},
        credit=image_credit(name, synthetic=synthetic), synthetic=synthetic, thing=thing(name),
        facts=_facts(data), recipes=_recipes(data.training), notes=_notes(data),
        seeds=max((cell.seeds for cell in data.controls), default=1))


def _views(data: ReportData) -> dict[str, Markup]:
    """The JSON of each view that the page's script mounts; views without data are left out."""
    payloads = {"explorer": explorer_payload(data.audits), "confusion": confusion_payload(data.evaluations),
                "curves": {"histories": [line for line in histories(data.training) if line["epochs"]]}}
    return {view: Markup(script_json(payload)) for view, payload in payloads.items()
            if any(payload.values())}


def _notes(data: ReportData) -> list[str]:
    """All notes: the run's own, then those of its results, with the model's name.

    An evaluation and an audit may say the same of a model with other advice behind the colon: it is said once.
    """
    results = (*data.training, *(one for one in data.evaluations if one.split != "train"), *data.audits)
    said: dict[tuple[str, str], str] = {}
    for result in results:
        title = series_title(result.model, result.trained)
        for note in result.notes:
            said.setdefault((title, note.partition(":")[0]), f"{title}: {note}")
    found = [*data.notes, *said.values()]
    for evaluation in data.evaluations:
        if evaluation.nonfinite:
            found.append(f"{evaluation.model}: the answer to {evaluation.nonfinite:,} of {evaluation.images:,} "
                         f"{evaluation.split} images was not finite; they count as wrong.")
    return list(dict.fromkeys(found))


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """(what, value) of how the run was made: dataset first, then the environment, nested keys joined by dots."""
    labels = {"name": "dataset", "source": "source", "license": "license", "train_images": "training images",
              "test_images": "test images", "image": "image size (channels, height, width)",
              "canvas": "canvas (height, width)", "class_names": "classes"}
    facts = [(label, readable(data.dataset[key])) for key, label in labels.items() if key in data.dataset]
    placement = next((result.placement for result in data.training), None)
    facts += [("placement", readable(placement))] if placement else []
    return facts + _flat(data.environment) + _flat({"sha-256": data.dataset.get("checksums", {})})


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as a flat list, so that a table can show them."""
    facts: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        facts += _flat(value, f"{name}: ") if isinstance(value, Mapping) else [(name, readable(value))]
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


def _recipes(training: Sequence[TrainResult]) -> list[tuple[str, str]]:
    """(model, settings as text), each model and way of training once."""
    recipes: dict[str, str] = {}
    for result in training:
        settings = {key: value for key, value in result.settings.items() if key != "seed" and value is not None}
        recipes.setdefault(f"{result.model}, trained {result.trained}", readable(settings))
    return list(recipes.items())
