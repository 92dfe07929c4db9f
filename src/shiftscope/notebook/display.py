"""How results show themselves in a notebook: words, a picture, and for audits a page to play with.

IPython asks a record for its `_repr_mimebundle_`; records ask `mimebundle` here, by name (see `results/base.py`).
"""

import base64
import html
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shiftscope.errors import ShiftscopeError
from shiftscope.notebook.summary import summary
from shiftscope.results import (
    Attribution,
    Audit,
    Equivariance,
    Evaluation,
    Quality,
    Record,
    Synthesis,
    TrainResult,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, PNG, HTML = "text/plain", "image/png", "text/html"

MOST = 1_400_000
"""Most characters of the HTML: a notebook keeps every output, and people send notebooks by mail."""

HEIGHT = 900
"""Pixels of the page of an audit: it cannot say itself how tall it is, for a sandbox keeps it from its surroundings."""

CSS_DPI = 96
"""Pixels of a page to an inch."""


@dataclass(frozen=True)
class Picture:
    """A picture for a page."""

    png: bytes
    alt: str
    """What it shows in words."""
    width: int
    """Pixels of the page, which may be fewer than those of the file."""
    height: int

    def tag(self) -> str:
        """Return it as an HTML element."""
        data = base64.b64encode(self.png).decode("ascii")
        return (f'<img src="data:image/png;base64,{data}" alt="{html.escape(self.alt)}" width="{self.width}" '
                f'height="{self.height}">')


def mimebundle(record: Record, include: Collection[str] | None = None,
               exclude: Collection[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a notebook shows of a record.

    text/plain is `summary`. image/png is the figure that reporting draws of it, where there is one. text/html is both,
    with the figure in words for people who cannot see it; an audit has the explorer instead of its figure, in a frame
    that may run its own script and nothing else. Where a notebook is not trusted, frames are taken out: there the
    figure stands.

    Args:
        record: of any kind.
        include: MIME types that are wanted, all unless given; a terminal wants text alone.
        exclude: MIME types that are not.

    Returns:
        The data by MIME type, binary data in base 64, and for the PNG its size on the page in pixels.
    """
    wanted = _active() if include is None else set(include)
    wanted -= set(exclude or ())
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    if TEXT in wanted:
        data[TEXT] = summary(record)
    picture = _picture(record) if wanted & {PNG, HTML} else None
    if picture is not None and PNG in wanted:
        data[PNG] = base64.b64encode(picture.png).decode("ascii")
        metadata[PNG] = {"width": picture.width, "height": picture.height}
    if picture is not None and HTML in wanted:
        data[HTML] = _page(record, picture)
    return data, metadata


def _active() -> set[str]:
    """The types that the present IPython shows: in a terminal only text, and drawing would be waste."""
    known = {TEXT, PNG, HTML}
    if "IPython" not in sys.modules:
        return known
    from IPython.core.getipython import get_ipython

    formatter = getattr(get_ipython(), "display_formatter", None)
    return known if formatter is None else known & set(formatter.active_types)


def _picture(record: Record) -> Picture | None:
    """Draw a record; None for a kind without a figure, and where it holds nothing to draw."""
    draw = next((draw for kind, draw in _DRAW.items() if isinstance(record, kind)), None)
    if draw is None:
        return None
    try:
        figure = draw(record)
    except (ShiftscopeError, ImportError):  # nothing to draw, or matplotlib does not load: the words stand alone
        return None
    from shiftscope.reporting import alt_text, reduce_colors, render_figure

    width, height = (round(CSS_DPI * inches) for inches in figure.get_size_inches())
    return Picture(reduce_colors(render_figure(figure, "png")), alt_text(figure), width, height)


def _page(record: Record, picture: Picture) -> str:
    """The words of a record above its picture, or above the explorer of an audit."""
    words = html.escape(summary(record)).replace("\n", "<br>")
    shown = (_framed(record, picture) if isinstance(record, Audit) else None) or picture.tag()
    return f"<div><p>{words}</p>{shown}</div>"


def _framed(audit: Audit, picture: Picture) -> str | None:
    """The explorer of an audit in a frame, `picture` where frames are taken out; None without images to show.

    The frame has no origin: its script reads neither the notebook nor its cookies, and no server answers it.
    """
    from shiftscope.reporting.explorer import render_explorer

    title = f"What {audit.model} says of an image wherever it lies"
    while len(audit.shown_index):
        page = html.escape(render_explorer([audit], title=title))
        found = (f'<iframe sandbox="allow-scripts" width="100%" height="{HEIGHT}" frameborder="0" '
                 f'title="{html.escape(title)}" srcdoc="{page}">{picture.tag()}</iframe>')
        if len(found) <= MOST:
            return found
        audit = _fewer_images(audit)
    return None


def _fewer_images(audit: Audit) -> Audit:
    """The same audit with half of the images that are shown, the first ones and the worst ones in turn."""
    kept = np.arange(len(audit.shown_index))[::2][:len(audit.shown_index) // 2]
    return replace(audit, shown_index=audit.shown_index[kept], shown_images=audit.shown_images[kept],
                   shown_logits=audit.shown_logits[kept])


def _draw_audit(audit: Audit) -> "Figure":
    from shiftscope.reporting import accuracy_map

    return accuracy_map([audit])


def _draw_evaluation(evaluation: Evaluation) -> "Figure":
    from shiftscope.reporting import confusion_matrix

    return confusion_matrix(evaluation)


def _draw_training(result: TrainResult) -> "Figure":
    from shiftscope.reporting import training_curves

    return training_curves([result])


def _draw_synthesis(synthesis: Synthesis) -> "Figure":
    from shiftscope.reporting import class_gallery, neuron_gallery

    return (class_gallery if synthesis.units[0].startswith("class:") else neuron_gallery)(synthesis)


def _draw_attribution(found: Attribution) -> "Figure":
    from shiftscope.reporting.attribution import attribution_figure

    return attribution_figure([found])


def _draw_equivariance(found: Equivariance) -> "Figure":
    from shiftscope.reporting import layer_profile

    return layer_profile(found)


def _draw_quality(quality: Quality) -> "Figure":
    from shiftscope.reporting import quality_figure

    return quality_figure(quality)


_DRAW: dict[type[Record], Callable[[Any], "Figure"]] = {
    Attribution: _draw_attribution, Audit: _draw_audit, Equivariance: _draw_equivariance,
    Evaluation: _draw_evaluation, Quality: _draw_quality, Synthesis: _draw_synthesis, TrainResult: _draw_training,
}
"""Figures are loaded when one is drawn: words alone need no matplotlib."""
