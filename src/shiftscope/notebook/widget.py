"""The interactive view of audits in a notebook."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shiftscope.errors import UsageError
from shiftscope.results import Audit

if TYPE_CHECKING:
    from shiftscope.notebook.explorer_widget import Explorer


def explorer(audits: Audit | Sequence[Audit]) -> "Explorer":
    """Return a widget that shows the models' predictions while an image is dragged over its canvas.

    Args:
        audits: one, or several with the same images and placements.

    Returns:
        The widget, which the last line of a cell displays. Its `image`, `dy` and `dx` are synchronized with the
        browser and can be set and observed; `predictions` holds the current predictions.

    Raises:
        UsageError: if anywidget is not installed, there are no audits, they differ in images or placements, or none
            holds an image.

    Example:
        In a notebook::

            widget = explorer([shiftscope.audit(perceptron, data), shiftscope.audit(convnet, data)])
            widget.dy, widget.dx = 0, 28
            widget.predictions[0]["prediction"]
    """
    try:
        from shiftscope.notebook.explorer_widget import Explorer
    except ImportError as error:
        raise UsageError(f"the explorer widget needs anywidget, which cannot be imported ({error}): install the extra "
                         'with pip install "shiftscope[notebook]" and restart the kernel') from error
    return Explorer([audits] if isinstance(audits, Audit) else list(audits))
