"""What each model promises about places before any training, mode by mode, and why.

exact         the same answer at every placement, up to rounding, whatever the weights: proven from the operations
              (`dense.prove_invariance`), and evaluated at every placement with random weights, both in tests
approximate   a step of one pixel changes it less than it would without, but changes it
none          nothing in the construction keeps the answer the same

All promises are for a constant background: on a textured or noisy one no placement is a shift of another.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from shiftscope.settings import Mode

Level = Literal["exact", "approximate", "none"]


@dataclass(frozen=True)
class Claim:
    """A promise, and why it holds or is not made."""

    level: Level
    why: str

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON."""
        return asdict(self)


Claims = dict[Mode, Claim]

_CROPPED = Claim("none", "the object enters and leaves the picture, so the pictures hold different pixels")


def _on_torus(level: Level, why: str) -> Claims:
    """Return claims about circular shifts: an object that lies wholly on an empty canvas is moved by one as well."""
    return {"canvas": Claim(level, why), "circular": Claim(level, why), "crop": _CROPPED}


_SCATTERED = _on_torus("exact", "the mean of a scattering map over the torus does not depend on where the map lies")

CLAIMS: dict[str, Claims] = {
    "two-full": _on_torus("none", "the first layer has a weight of its own for each pixel of the canvas"),
    "two-conv": _on_torus("none", "its fully connected layer has a weight of its own for each place of the map, and "
                                  "its pools step by 2"),
    "recentered": _on_torus("exact", "the object is shown at one fixed place: the net behind it is given the same "
                                    "pixels, to the bit"),
    "invariant": _on_torus("exact", "every layer commutes with shifts of the torus, polyphase downsampling included, "
                                    "and the largest value of a channel does not depend on where it stands"),
    "scattering-linear": _SCATTERED,
    "scattering-full": _SCATTERED,
}
"""Claims of the registry models, by name and mode."""

REPAIR_CLAIMS: dict[str, Claims] = {
    "blur": _on_torus("approximate", "a blur before each step leaves less for the step to alias, but layers that read "
                                     "positions stay"),
    "polyphase": _on_torus("exact", "all padding is circular, each step begins at its strongest phase, and a layer "
                                    "that read positions is shown the mean over them"),
    "phase-average": _on_torus("approximate", "the mean over all phases takes away what the steps cause, but layers "
                                              "that read positions stay"),
    "placement-average": _on_torus("exact", "a shift only reorders the answers that are averaged"),
    "recenter": _on_torus("exact", "the object is moved to one fixed place first: the net behind it is given the same "
                                   "pixels, to the bit"),
}
"""Claims of the models of the course after a repair, by its name and the mode."""


def claims_of(model: str, repair: str | None = None) -> Claims:
    """Return the claims of a registry model, or of a model of the course after a repair.

    >>> claims_of("two-conv")["canvas"].level, claims_of("two-conv", "recenter")["canvas"].level
    ('none', 'exact')
    """
    return CLAIMS[model] if repair is None else REPAIR_CLAIMS[repair]
