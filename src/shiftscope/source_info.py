"""Input and classes of a model as its source describes them, as a torch-free record."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from shiftscope.settings import Interpolation

_WORDNET_ID = re.compile(r"n\d{8}")


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """How photographs are prepared for a model, and the classes of its outputs. None: unknown.

    Photographs are resized, cropped in the middle, and divided by 255. The model itself subtracts `mean` and divides by
    `std`: a model of `load_model` takes pixels in [0, 1].

    Example:
        >>> names = ("n01440764", "n01443537")
        >>> info = SourceInfo(input_size=(224, 224), resize=256, crop=(224, 224), class_names=names)
        >>> info.resize, info.wordnet_ids
        (256, ('n01440764', 'n01443537'))
    """

    channels: int | None = None
    """Number of input channels."""
    input_size: tuple[int, int] | None = None
    """(height, width) in pixels for which the model was made."""
    resize: int | tuple[int, int] | None = None
    """Length of the shorter side, with the aspect ratio kept, or (height, width)."""
    crop: tuple[int, int] | None = None
    """(height, width) of the crop in the middle; None: no crop."""
    interpolation: Interpolation | None = None
    """Filter of the resizing."""
    antialias: bool = True
    """The filter is widened when an image becomes smaller, as Pillow does."""
    mean: tuple[float, ...] | None = None
    """Subtracted from pixels in [0, 1], per channel, by the model itself."""
    std: tuple[float, ...] | None = None
    """Divisor after the subtraction, per channel."""
    class_names: tuple[str, ...] | None = field(default=None, repr=False)
    """Name of each output."""
    wordnet_ids: tuple[str, ...] | None = field(default=None, repr=False)
    """WordNet id of each output, such as n01440764."""

    def __post_init__(self) -> None:
        names = self.class_names
        if self.wordnet_ids is None and names and all(map(_WORDNET_ID.fullmatch, names)):
            object.__setattr__(self, "wordnet_ids", names)


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names with the index appended to those that occur several times, such as the two cranes of ImageNet.

    >>> unique_names(["crane", "kite", "crane"])
    ('crane (0)', 'kite', 'crane (2)')
    """
    several = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    return tuple(f"{name} ({index})" if name in several else name for index, name in enumerate(names))
