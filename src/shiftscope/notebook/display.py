"""Display of results in notebooks: text, a figure, and for audits the interactive explorer.

IPython calls `_repr_mimebundle_` of a record, which imports and calls `mimebundle` (see `results/base.py`).
"""

import base64
import html
import sys
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shiftscope.errors import ShiftscopeError
from shiftscope.notebook.summary import summary
from shiftscope.results import Attribution, Audit, Equivariance, Evaluation, Quality, Record, Synthesis, TrainResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, PNG, HTML = "text/plain", "image/png", "text/html"

MAX_LENGTH = 1_400_000
"""Maximum number of characters of the HTML, because notebooks store every output."""

HEIGHT, NARROW, STACKED = 830, 556, 1400
"""Height in CSS pixels of an audit's explorer, whose sandbox cannot report its own height. In cells of at most `NARROW`
pixels the parts are below each other, and the height is `STACKED`."""

_STYLE = f"height: calc({HEIGHT}px + clamp(0px, ({NARROW}px - 100cqw) * 1000, {STACKED - HEIGHT}px))"


def mimebundle(record: Record, include: Collection[str] | None = None,
               exclude: Collection[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the representations of a record in a notebook.

    text/plain is `summary`; image/png is the record's figure, if any; text/html contains both, with a text alternative
    of the figure. For an audit it contains the explorer in a sandboxed frame; untrusted notebooks remove the frame and
    show the figure.

    Args:
        record: of any kind.
        include: MIME types to return; by default all, in a terminal only text.
        exclude: MIME types to leave out.

    Returns:
        The data by MIME type, binary data in base 64, and for the PNG its size in CSS pixels.
    """
    types = (_active_types() if include is None else set(include)) - set(exclude or ())
    data: dict[str, Any] = {TEXT: summary(record)} if TEXT in types else {}
    metadata: dict[str, Any] = {}
    image = _image(record) if types & {PNG, HTML} else None
    if image is None:
        return data, metadata
    png, tag, size = image
    if PNG in types:
        data[PNG], metadata[PNG] = png, size
    if HTML in types:
        text = html.escape(summary(record)).replace("\n", "<br>")
        explorer = _explorer_frame(record, tag) if isinstance(record, Audit) else None
        data[HTML] = f"<div><p>{text}</p>{explorer or tag}</div>"
    return data, metadata


def _active_types() -> set[str]:
    """The MIME types that the current IPython displays."""
    known = {TEXT, PNG, HTML}
    if "IPython" not in sys.modules:
        return known
    from IPython.core.getipython import get_ipython

    formatter = getattr(get_ipython(), "display_formatter", None)
    return known if formatter is None else known & set(formatter.active_types)


def _image(record: Record) -> tuple[str, str, dict[str, int]] | None:
    """Return a record's figure as PNG in base 64, as HTML element, and its size in CSS pixels.

    None if there is no figure or matplotlib cannot be imported.
    """
    try:
        figure = _figure(record)
    except (ShiftscopeError, ImportError):
        return None
    if figure is None:
        return None
    from shiftscope.reporting import alt_text, reduce_colors, render_figure

    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    png = base64.b64encode(reduce_colors(render_figure(figure, "png"))).decode("ascii")
    tag = (f'<img src="data:image/png;base64,{png}" alt="{html.escape(alt_text(figure))}" width="{width}" '
           f'height="{height}">')
    return png, tag, {"width": width, "height": height}


def _figure(record: Record) -> "Figure | None":
    """Draw a record. matplotlib is imported here, because text does not need it."""
    from shiftscope import reporting
    from shiftscope.reporting.attribution import attribution_figure
    from shiftscope.reporting.live_curves import drawn_in_this_cell

    match record:
        case Attribution():
            return attribution_figure([record])
        case Audit():
            return reporting.accuracy_map([record])
        case Equivariance():
            return reporting.layer_profile(record)
        case Evaluation():
            return reporting.confusion_matrix(record)
        case Quality():
            return reporting.quality_figure(record)
        case Synthesis():
            of_classes = record.units[0].startswith("class:")
            return (reporting.class_gallery if of_classes else reporting.neuron_gallery)(record)
        case TrainResult() if not drawn_in_this_cell(record.history):
            return reporting.training_curves([record])
    return None


def _explorer_frame(audit: Audit, fallback: str) -> str | None:
    """Return the explorer of an audit in a frame; None if there are no images to show.

    The frame has no origin: its script cannot access the notebook or its cookies.
    """
    from shiftscope.reporting.explorer import render_explorer

    title = f"Predictions of {audit.model} at all placements"
    while len(audit.shown_index):
        page = html.escape(render_explorer([audit], title=title))
        frame = (f'<div style="container-type: inline-size"><iframe sandbox="allow-scripts" width="100%" '
                 f'height="{HEIGHT}" style="{_STYLE}" frameborder="0" title="{html.escape(title)}" '
                 f'srcdoc="{page}">{fallback}</iframe></div>')
        if len(frame) <= MAX_LENGTH:
            return frame
        kept = np.arange(len(audit.shown_index))[::2][:len(audit.shown_index) // 2]
        audit = replace(audit, shown_index=audit.shown_index[kept], shown_images=audit.shown_images[kept],
                        shown_logits=audit.shown_logits[kept])
    return None
