"""The live view of audits in a notebook: what is dragged in the browser changes values in Python, and back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shiftscope.errors import UsageError
from shiftscope.results import Audit

if TYPE_CHECKING:
    from shiftscope.notebook.live_explorer import Explorer


def explorer(audits: Audit | Sequence[Audit]) -> "Explorer":
    """Return a widget in which an image is dragged over its canvas, beside what each model says of it there.

    Args:
        audits: one, or several of the same images and placements: their models stand side by side.

    Returns:
        The widget; as the last line of a cell it shows itself. Its `image`, `dy` and `dx` follow the browser and may be
        set, `observe` calls back when they change, and `answers` is what the models say there.

    Raises:
        UsageError: anywidget is not installed; no audit, audits of different images or placements, or none that keeps
            an image.

    Example:
        In a notebook::

            widget = explorer([shiftscope.audit(perceptron, data), shiftscope.audit(convnet, data)])
            widget.dy, widget.dx = 0, 28
            widget.predictions[0]["answer"]
    """
    try:
        from shiftscope.notebook.live_explorer import Explorer
    except ImportError as error:
        raise UsageError(f"the live view needs anywidget, which cannot be imported ({error}): install the extra with "
                         'pip install "shiftscope[notebook]" and restart the kernel') from error
    return Explorer([audits] if isinstance(audits, Audit) else list(audits))
