"""The HTML report of a run: one self-contained page."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from shiftscope.errors import unknown
from shiftscope.reporting.audit_grid import audit_title
from shiftscope.reporting.confusion import confusion_payload
from shiftscope.reporting.controls import ControlCell
from shiftscope.reporting.curves import curves_payload
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.figure_style import alt_text, render_figure
from shiftscope.reporting.formatting import image_credit
from shiftscope.reporting.headline import headline
from shiftscope.reporting.protocol_table import protocol_tables
from shiftscope.reporting.provenance import doubts, made
from shiftscope.reporting.selection import first_seeds
from shiftscope.reporting.stability import stability_tables
from shiftscope.reporting.summary_cards import summary_cards
from shiftscope.reporting.tables import (
    audit_columns,
    audit_rows,
    control_rows,
    is_labeled,
    model_rows,
    parameter_cells,
    unmeasured_controls,
)
from shiftscope.reporting.theme_layers import split_layers
from shiftscope.reporting.web_page import asset, render_page, script_json
from shiftscope.results import Attribution, Audit, Evaluation, ParameterRow, TrainResult

SECTIONS = ("controls", "curves", "confusion", "samples", "audit", "classes", "classified", "neighbors", "neurons",
            "weights", "parameters")
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
    model: str = ""
    """Display name of the model in whose tab the figure is; "": the figure is in its section."""
    images: bytes | None = None
    """The images of the figure, see `theme_layers.split_layers`: `png` is then the rest, which a dark theme inverts.
    None: the figure is shown as it is."""

    def __post_init__(self) -> None:
        if self.section not in SECTIONS:
            raise unknown("section of the report", self.section, SECTIONS)

    @property
    def uri(self) -> str:
        """The figure as a data URI."""
        return _data_uri(self.png)

    @property
    def images_uri(self) -> str:
        """The images as a data URI; "" if there are none."""
        return _data_uri(self.images) if self.images else ""


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def report_figure(section: str, figure: Figure, caption: str, model: str = "") -> ReportFigure:
    """Return a rendered figure with its own alternative text, in layers for light and dark themes."""
    png, images = split_layers(render_figure(figure, "png"))
    return ReportFigure(section, png, alt_text(figure), caption, model, images)


MODEL_SECTIONS = {"audit": "Accuracy by position", "classes": "Class visualizations",
                  "classified": "Example predictions", "neighbors": "Real images with the highest activation",
                  "neurons": "Neuron visualizations", "weights": "First-layer weights", "parameters": "Parameters"}
"""Headings in the tab of a model, by section."""

_UNLABELED_SECTION = "Agreement with the middle by position"

OPEN_SECTIONS = ("audit", "classes")
"""Parts of a tab that are not collapsed."""


@dataclass(frozen=True)
class ModelPanel:
    """The tab of one model."""

    title: str
    figures: dict[str, list[tuple[str, ReportFigure]]]
    """(name, figure) by section."""
    parameters: list[tuple[str, str, str, str, str, str]]


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
    """Doubts about results, as sentences; those of the results themselves are added."""
    remarks: Sequence[str] = ()
    """Sentences about how the page was made."""


def render_report(data: ReportData) -> str:
    """Return the report as one HTML page that needs no network and no other file.

    Its Content-Security-Policy allows only its own script, its own style and inlined images. Interactive views also
    have a static figure for browsers without JavaScript and for printing.
    """
    synthetic = bool(data.dataset.get("synthetic", False))
    return render_page(
        "template.html", style=asset("style.css") + asset("explorer.css"), title=data.title,
        figures=by_section((key, figure) for key, figure in data.figures.items() if not figure.model),
        panels=model_panels(data), model_sections=_model_sections(data), open_sections=OPEN_SECTIONS,
        views=_views(data),
        headline=headline(data.audits, data.controls, data.evaluations),
        cards=summary_cards(data.audits, data.training, data.evaluations),
        rows=model_rows(data.training, data.evaluations),
        controls=control_rows(data.controls), unmeasured=unmeasured_controls(data.controls),
        audits=audit_rows(data.audits), audit_columns=audit_columns(data.audits), labeled=is_labeled(data.audits),
        stability=stability_tables(data.audits), protocols=protocol_tables(first_seeds(data.audits)),
        credit=image_credit(str(data.dataset.get("name", "unknown")), synthetic=synthetic,
                            preparation=str(data.dataset.get("preparation", ""))), synthetic=synthetic,
        facts=made(data.dataset, data.environment, data.training, data.remarks),
        notes=doubts(data.notes, data.training, data.evaluations, data.audits),
        seeds=max((cell.seeds for cell in data.controls), default=1))


def by_section(figures: Iterable[tuple[str, ReportFigure]]) -> dict[str, list[tuple[str, ReportFigure]]]:
    """Sort (name, figure) into all sections."""
    found: dict[str, list[tuple[str, ReportFigure]]] = {section: [] for section in SECTIONS}
    for key, figure in figures:
        found[figure.section].append((key, figure))
    return found


def model_panels(data: ReportData) -> list[ModelPanel]:
    """Return a panel for each model with figures or parameters of its own, in the order of the audits."""
    own = {*(figure.model for figure in data.figures.values() if figure.model), *data.parameters}
    order = [*map(audit_title, data.audits), *(figure.model for figure in data.figures.values()), *data.parameters]
    titles = [title for title in dict.fromkeys(order) if title in own]
    return [ModelPanel(title, by_section((key, one) for key, one in data.figures.items() if one.model == title),
                       parameter_cells(data.parameters.get(title, ()))) for title in titles]


def _model_sections(data: ReportData) -> dict[str, str]:
    """Return the headings in the tab of a model."""
    return MODEL_SECTIONS if is_labeled(data.audits) else MODEL_SECTIONS | {"audit": _UNLABELED_SECTION}


def _views(data: ReportData) -> dict[str, Markup]:
    """The JSON of each interactive view that has data."""
    payloads = {"explorer": explorer_payload(data.audits, data.attributions, rows=data.image_rows),
                "confusion": confusion_payload(data.evaluations),
                "curves": {"curves": [curve for curve in curves_payload(data.training) if curve["epochs"]]}}
    return {view: Markup(script_json(payload)) for view, payload in payloads.items() if any(payload.values())}
