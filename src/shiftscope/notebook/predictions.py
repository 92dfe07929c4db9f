"""What models say of the images that an audit keeps, at any placement, as plain Python values."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from shiftscope.errors import UsageError
from shiftscope.outputs import probabilities
from shiftscope.results import Audit


class Answer(TypedDict):
    """What one model says of one image at one placement."""

    model: str
    answer: str | None
    """Name of the class; None where the model's output is not finite, or the placement was not computed."""
    right: bool | None
    confidence: float | None
    """Probability of the answer; None too where the scores of this image were not kept."""
    confidences: dict[str, float]
    """The same for every class, by name; empty where it is not known."""


class Answers:
    """The images and placements of one group of an explorer, see `shiftscope.reporting.explorer.explorer_payload`.

    Args:
        audits: what the group was made of.
        group: the group: it says which images are shown, in which order, and which models.

    Attributes:
        audits: one a model, in the order in which they stand side by side.
        rows, columns: values of dy and dx, rising.
        numbers: of the images in their dataset.
        labels: their true classes.
    """

    def __init__(self, audits: Sequence[Audit], group: Mapping[str, Any]):
        self.numbers: list[int] = group["images"]["numbers"]
        self.labels: list[int] = group["images"]["labels"]
        self.audits = [next(audit for audit in audits if (audit.model, audit.trained) == (model["model"],
                                                                                           model["trained"]))
                       for model in group["models"]]
        self.rows: list[int] = self.audits[0].rows.tolist()
        self.columns: list[int] = self.audits[0].columns.tolist()
        self._around: list[int] | None = group["canvas"] if group["mode"] == "circular" else None

    def checked(self, name: str, value: Any) -> int:
        """Return `value` as the whole number that "image", "dy" or "dx" can be.

        Raises:
            UsageError: it is none, or there is no such image or placement.
        """
        try:
            number = operator.index(value)
        except TypeError:
            raise UsageError(f"{name} must be a whole number, got {value!r}") from None
        if name == "image":
            if not 0 <= number < len(self.numbers):
                raise UsageError(f"image must be from 0 to {len(self.numbers) - 1}, for so many images are shown, got "
                                 f"{number}")
            return number
        return self._offset(name, number)

    def _offset(self, name: str, number: int) -> int:
        axis = ("dy", "dx").index(name)
        values = (self.rows, self.columns)[axis]
        if self._around is not None:
            number %= self._around[axis]
        if number not in values:
            raise UsageError(f"{name} must be one of the {len(values)} that were audited, {_values(values)}, got "
                             f"{number}")
        return number

    def at(self, image: int, dy: int, dx: int) -> list[Answer]:
        """Return what each model says of a shown image at an offset."""
        return [self._answer(audit, image, dy, dx) for audit in self.audits]

    def _answer(self, audit: Audit, image: int, dy: int, dx: int) -> Answer:
        number = self.numbers[image]
        place = np.flatnonzero((audit.offsets == (dy, dx)).all(axis=1))
        said = int(audit.predictions[number, place[0]]) if len(place) else None
        if said is None or said == np.iinfo(audit.predictions.dtype).max:
            return {"model": audit.model, "answer": None, "right": None if said is None else False, "confidence": None,
                    "confidences": {}}
        kept = np.flatnonzero(audit.shown_index == number)
        scores = audit.shown_logits[kept[0], place[0]] if len(kept) else np.zeros(0)
        shares = probabilities(scores, audit.output_type).tolist() if len(kept) else []
        names = audit.class_names
        return {"model": audit.model, "answer": names[said], "right": said == self.labels[image],
                "confidence": shares[said] if len(kept) else None,
                "confidences": dict(zip(names, shares, strict=False))}


def _values(values: Sequence[int]) -> str:
    """Whole numbers that rise, in words.

    >>> _values([0, 1, 2, 3]), _values([0, 4, 8]), _values([0, 4, 8, 12])
    ('0 to 3', '0, 4, 8', '0, 4, ... 12')
    """
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values)) if len(values) <= 3 else f"{values[0]}, {values[1]}, ... {values[-1]}"
