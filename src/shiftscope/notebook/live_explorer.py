"""The widget behind `shiftscope.notebook.widget.explorer`: the same `app.js` as in the report, with values to share.

It is a module of its own because it needs the extra [notebook]: without that, everything else here still imports.
"""

import base64
from collections.abc import Sequence
from typing import Any

import anywidget
import traitlets

from shiftscope.errors import UsageError
from shiftscope.notebook.predictions import Answer, Answers
from shiftscope.notebook.summary import summary
from shiftscope.reporting import accuracy_map, reduce_colors, render_figure
from shiftscope.reporting.web_page import asset
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.results import Audit


class Place(traitlets.TraitType[Any, int]):
    """A whole number that the widget allows under this name; anything else is an error and changes nothing.

    The check is part of the type: a traitlets validator would run late when several values come at once, and leave a
    wrong one in place.
    """

    def validate(self, obj: Any, value: Any) -> int:
        return obj.choices.checked(self.name, value)


class Explorer(anywidget.AnyWidget):
    """A live view of audits.

    Args:
        audits: of the same images and placements.

    Attributes:
        image: number of the shown image, from 0.
        dy, dx: its offset. In circular mode any whole number will do: it is taken around the canvas.
        choices: the images and placements that there are.

    Raises:
        UsageError: see `shiftscope.notebook.widget.explorer`; setting `image`, `dy` or `dx` to what is not there.
    """

    _esm = asset("app.js")
    _css = asset("explorer.css")

    payload = traitlets.Dict().tag(sync=True)
    image = Place().tag(sync=True)
    dy = Place().tag(sync=True)
    dx = Place().tag(sync=True)

    def __init__(self, audits: Sequence[Audit]):
        payload = explorer_payload(audits)
        if len(payload["groups"]) != 1:
            raise UsageError(_not_one(audits, payload["groups"]))
        group = payload["groups"][0]
        self.choices = Answers(audits, group)
        self._audits = list(audits)
        dy, dx = (group[axis][place] for axis, place in zip(("rows", "columns"), _begin(group), strict=True))
        super().__init__(payload=payload, image=0, dy=dy, dx=dx)

    @property
    def predictions(self) -> list[Answer]:
        """What each model says of the image where it lies now: class names and confidences."""
        return self.choices.at(self.image, self.dy, self.dx)

    @property
    def label(self) -> str:
        """Name of the true class of the image."""
        return self._audits[0].class_names[self.choices.labels[self.image]]

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget's view, and beside it the accuracy map for where a notebook is read without its kernel."""
        found = super()._repr_mimebundle_(**kwargs)
        data, metadata = found if isinstance(found, tuple) else (found, {})
        if data is None:
            return found
        png = reduce_colors(render_figure(accuracy_map(self.choices.audits), "png"))
        words = "\n".join(summary(audit) for audit in self.choices.audits)
        return data | {"text/plain": words, "image/png": base64.b64encode(png).decode("ascii")}, metadata


def _begin(group: dict[str, Any]) -> Sequence[int]:
    """The cell of the centered image, or the one in the middle of the grid."""
    return group["middle"] or (len(group["rows"]) // 2, len(group["columns"]) // 2)


def _not_one(audits: Sequence[Audit], groups: Sequence[dict[str, Any]]) -> str:
    if not audits:
        return "audits must hold at least one audit, got none: audit a model first"
    if not groups:
        return "no image was kept in these audits, so there is nothing to drag: audit at least one image"
    return (f"the audits are of {len(groups)} different sets of images or placements, expected one: show each set in a "
            "widget of its own")
