"""The widget that `shiftscope.notebook.widget.explorer` returns; it uses the `app.js` of the report.

A separate module, because it needs the extra [notebook].
"""

import base64
import operator
from collections.abc import Sequence
from typing import Any, TypedDict

import anywidget
import numpy as np
import traitlets

from shiftscope.errors import UsageError
from shiftscope.notebook.summary import summary
from shiftscope.outputs import probabilities
from shiftscope.reporting import accuracy_map, reduce_colors, render_figure
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.web_page import asset
from shiftscope.results import Audit


class Prediction(TypedDict):
    """A model's prediction for an image at one placement."""

    model: str
    prediction: str | None
    """Name of the class; None if the output is not finite, or the placement was not computed."""
    correct: bool | None
    confidence: float | None
    """Probability of the prediction; None if the logits of this image were not kept."""
    confidences: dict[str, float]
    """Probability of each class by name; empty if unknown."""


class Coordinate(traitlets.TraitType[Any, int]):
    """An integer that the widget validates under its name.

    The check is part of the type: a traitlets validator would run after several values have been set together.
    """

    def validate(self, obj: Any, value: Any) -> int:
        return obj.validated(self.name, value)


class Explorer(anywidget.AnyWidget):
    """An interactive view of audits with the same images and placements.

    Attributes:
        image: index of the shown image, from 0.
        dy, dx: its offset. In circular mode any integer is valid, modulo the canvas size.

    Raises:
        UsageError: see `shiftscope.notebook.widget.explorer`; or if `image`, `dy` or `dx` is set to an invalid value.
    """

    _esm = asset("app.js") + asset("widget.js")
    _css = asset("explorer.css")

    payload = traitlets.Dict().tag(sync=True)
    image = Coordinate().tag(sync=True)
    dy = Coordinate().tag(sync=True)
    dx = Coordinate().tag(sync=True)

    def __init__(self, audits: Sequence[Audit]):
        payload = explorer_payload(audits)
        if len(payload["groups"]) != 1:
            raise UsageError(_group_error(audits, payload["groups"]))
        group = self._group = payload["groups"][0]
        keys = [(model["model"], model["trained"]) for model in group["models"]]
        self._audits = [next(audit for audit in audits if (audit.model, audit.trained) == key) for key in keys]
        row, column = group["middle"] or (len(group["rows"]) // 2, len(group["columns"]) // 2)
        super().__init__(payload=payload, image=0, dy=group["rows"][row], dx=group["columns"][column])

    @property
    def predictions(self) -> list[Prediction]:
        """Each model's prediction for the image at the current offset."""
        return [self._prediction(audit) for audit in self._audits]

    @property
    def label(self) -> str:
        """Name of the image's true class."""
        return self._audits[0].class_names[self._group["images"]["labels"][self.image]]

    def validated(self, name: str, value: Any) -> int:
        """Return the integer for "image", "dy" or "dx".

        Raises:
            UsageError: if the value is not an integer, or there is no such image or placement.
        """
        try:
            number = operator.index(value)
        except TypeError:
            raise UsageError(f"{name} must be an integer, got {value!r}") from None
        if name == "image":
            count = len(self._group["images"]["numbers"])
            if not 0 <= number < count:
                raise UsageError(f"image must be from 0 to {count - 1}, the index of a shown image, got {number}")
            return number
        axis = ("dy", "dx").index(name)
        values = (self._audits[0].rows, self._audits[0].columns)[axis].tolist()
        if self._group["mode"] == "circular":
            number %= self._group["canvas"][axis]
        if number not in values:
            raise UsageError(f"{name} must be one of the {len(values)} audited values, {_format_values(values)}, got "
                             f"{number}")
        return number

    def _prediction(self, audit: Audit) -> Prediction:
        number = self._group["images"]["numbers"][self.image]
        offset = np.flatnonzero((audit.offsets == (self.dy, self.dx)).all(axis=1))
        label = int(audit.predictions[number, offset[0]]) if len(offset) else None
        if label is None or label == np.iinfo(audit.predictions.dtype).max:
            return {"model": audit.model, "prediction": None, "correct": None if label is None else False,
                    "confidence": None, "confidences": {}}
        kept = np.flatnonzero(audit.shown_index == number)
        values = probabilities(audit.shown_logits[kept[0], offset[0]], audit.output_type).tolist() if len(kept) else []
        return {"model": audit.model, "prediction": audit.class_names[label],
                "correct": label == self._group["images"]["labels"][self.image],
                "confidence": values[label] if values else None,
                "confidences": dict(zip(audit.class_names, values, strict=False))}

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget's view, and the accuracy map for readers without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        if data is None:
            return bundle
        png = reduce_colors(render_figure(accuracy_map(self._audits), "png"))
        text = "\n".join(summary(audit) for audit in self._audits)
        return data | {"text/plain": text, "image/png": base64.b64encode(png).decode("ascii")}, metadata


def _group_error(audits: Sequence[Audit], groups: Sequence[dict[str, Any]]) -> str:
    if not audits:
        return "audits must hold at least one audit, got none: audit a model first"
    if not groups:
        return "these audits hold no images to show: audit at least one image"
    return (f"the audits have {len(groups)} different sets of images or placements, expected one: use one widget per "
            "set")


def _format_values(values: Sequence[int]) -> str:
    """Format rising integers.

    >>> _format_values([0, 1, 2, 3]), _format_values([0, 4, 8]), _format_values([0, 4, 8, 12])
    ('0 to 3', '0, 4, 8', '0, 4, ... 12')
    """
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values)) if len(values) <= 3 else f"{values[0]}, {values[1]}, ... {values[-1]}"
