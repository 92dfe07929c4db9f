"""What each model guarantees about translation invariance before any training, per mode, and why.

exact         the same output at every placement, up to rounding, for any weights: proven from the operations
              (`dense.prove_invariance`), and evaluated at every placement with random weights, both in tests
approximate   a shift by one pixel changes the output less than without the method
none          no guarantee

All claims are for a constant background: on a textured or noisy one, placements are not shifts of each other.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from shiftscope.settings import Mode

Level = Literal["exact", "approximate", "none"]


@dataclass(frozen=True)
class Claim:
    """A level of invariance, and the reason."""

    level: Level
    why: str

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON."""
        return asdict(self)


Claims = dict[Mode, Claim]

_CROPPED = Claim("none", "the object enters and leaves the image, so that the images hold different pixels")
_FILLED = Claim("none", "content leaves the image and filled pixels take its place, so that the images hold different "
                        "pixels")


def _circular(level: Level, why: str) -> Claims:
    """Return claims for circular shifts, which also move an object that is fully visible on an empty canvas."""
    return {"canvas": Claim(level, why), "circular": Claim(level, why), "crop": _CROPPED, "fill": _FILLED}


_SCATTERING = _circular("exact", "the mean of a scattering map over the torus does not depend on position")
_SAME_PIXELS = _circular("exact", "the object is moved to a fixed position first, so that the network behind it gets "
                                  "the same pixels, bit for bit")

CLAIMS: dict[str, Claims] = {
    "two-full": _circular("none", "the first layer has a separate weight for each pixel of the canvas"),
    "two-conv": _circular("none", "its fully connected layer has a separate weight for each position of the map, and "
                                  "its pools have stride 2"),
    "recentered": _SAME_PIXELS,
    "invariant": _circular("exact", "every layer commutes with circular shifts, polyphase downsampling included, and "
                                    "the maximum of a channel does not depend on its position"),
    "scattering-linear": _SCATTERING,
    "scattering-full": _SCATTERING,
}
"""Claims of the registry models, by name and mode."""

REPAIR_CLAIMS: dict[str, Claims] = {
    "blur": _circular("approximate", "a blur before each stride reduces aliasing, but layers that read positions stay"),
    "polyphase": _circular("exact", "all padding is circular, each stride begins at the strongest phase, and layers "
                                    "that read positions get the mean over all positions"),
    "phase-average": _circular("approximate", "the mean over all phases removes the effect of strides, but layers that "
                                              "read positions stay"),
    "placement-average": _circular("exact", "a shift only reorders the outputs that are averaged"),
    "recenter": _SAME_PIXELS,
}
"""Claims of the course's models after a repair, by method and mode."""


def claims_of(model: str, repair: str | None = None) -> Claims:
    """Return the claims of a registry model, or of a model of the course after a repair.

    >>> claims_of("two-conv")["canvas"].level, claims_of("two-conv", "recenter")["canvas"].level
    ('none', 'exact')
    """
    return CLAIMS[model] if repair is None else REPAIR_CLAIMS[repair]
