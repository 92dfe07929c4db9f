"""Published evaluations of translation robustness as records: images, placements, metrics and published figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from shiftscope.errors import UsageError, unknown
from shiftscope.geometry import Geometry, Offset, Size
from shiftscope.preparation import Preparation
from shiftscope.settings import Fill, Mode


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published row: one model with its figures in percent, in the order of `Protocol.metrics`."""

    model: str
    percent: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A published evaluation of translation robustness.

    Attributes:
        name: its name in `PROTOCOLS`.
        source: authors, title, venue and year.
        definition: one sentence.
        dataset: the images of the published figures.
        metrics: name of each metric in the publication, with the field of `Audit` that measures it.
        mode, fill: see `Geometry`.
        image: required (height, width) of the images; None: any of at least `least` pixels on each side.
        least: smallest height and width.
        canvas: (height, width) of the model's input; None: the size of the images.
        offsets: the offsets (dy, dx); None: all.
        reference: the offset of the published accuracy, with which other placements are compared.
        preparation: how image files are prepared, where `crop` is their final size; None: they have the size already.
        published: published rows.

    Example:
        >>> found = protocol_named("imagenet-consistency")
        >>> found.geometry((256, 256)).count, found.metrics["consistency"], found.published[0].percent
        (1024, 'consistency', (69.74, 85.11))
    """

    name: str
    source: str
    definition: str
    dataset: str
    metrics: Mapping[str, str]
    mode: Mode
    fill: Fill | None = None
    image: Size | None = None
    least: int = 1
    canvas: Size | None = None
    offsets: tuple[Offset, ...] | None = None
    reference: Offset = (0, 0)
    preparation: Preparation | None = None
    published: tuple[Published, ...] = field(default=())

    def geometry(self, image: Size, resized: Preparation | None = None) -> Geometry:
        """Return the placements of images of (height, width) `image`.

        Args:
            resized: how image files were resized; None: they were not.

        Raises:
            UsageError: if the protocol is not made for images of this size, or they were prepared in another way.
        """
        needed = None if self.image in (None, image) else "{} x {} pixels".format(*self.image)
        if min(image) < self.least:
            needed = f"at least {self.least} x {self.least} pixels"
        if needed is not None:
            raise UsageError(f"protocol {self.name} needs images of {needed} (height x width), and these have "
                             f"{image[0]} x {image[1]}: choose other images, or another protocol (shiftscope "
                             "protocols lists them)")
        if resized not in (None, self.preparation):
            raise UsageError(f"protocol {self.name} needs {self._files()}, and these image files were resized "
                             "in another way: load them without resizing, or with "
                             "prepare=protocol_named(NAME).preparation")
        return Geometry(image=image, canvas=self.canvas or image, mode=self.mode, fill=self.fill,
                        offset_list=self.offsets, reference=self.reference)

    def _files(self) -> str:
        """Return which image files the protocol needs."""
        how = self.preparation
        if how is None or how.crop is None:
            return "image files that have the size already"
        return (f"image files with a shorter side of {how.shorter_side} pixels ({how.interpolation}), center cropped "
                f"to {how.crop[0]} x {how.crop[1]}")

    def check_input(self, size: Size | None, canvas: Size, model: str) -> None:
        """Raise a `UsageError` if a model takes another input than (height, width) `canvas`; None: unknown."""
        if size not in (None, canvas):
            raise UsageError(f"protocol {self.name} evaluates models with an input of {canvas[0]} x {canvas[1]} pixels "
                             f"(height x width) on these images, and that of {model} is {size[0]} x {size[1]}: choose "
                             "another model, other images, or another protocol")

    def check_options(self, given: Mapping[str, Any]) -> None:
        """Raise a `UsageError` if an option has another value than in the protocol.

        Args:
            given: values by the name of the option, such as mode or shorter_side; None and unknown names are skipped.

        >>> protocol_named("cifar-c-consistency").check_options({"mode": "circular", "limit": 9})
        """
        how = self.preparation
        own = {"mode": self.mode, "fill": self.fill, "canvas": self.canvas, "image_size": how and how.crop,
               "resize": how and how.resize, "shorter_side": how and how.shorter_side,
               "interpolation": how and how.interpolation, "max_shift": None, "step": 1}
        for name, value in given.items():
            if name in own and value not in (None, own[name]):
                sets = "does not have this option" if own[name] is None else f"sets {_shown(own[name])}"
                raise UsageError(f"--{name.replace('_', '-')} {_shown(value)} contradicts the protocol {self.name}, "
                                 f"which {sets}: leave out one of the two")

    def to_dict(self) -> dict[str, Any]:
        """Return the protocol as plain JSON; the published figures are in percent."""
        return {"name": self.name, "source": self.source, "definition": self.definition, "dataset": self.dataset,
                "metrics": dict(self.metrics),
                "mode": self.mode, "fill": self.fill, "image": self.image, "canvas": self.canvas,
                "placements": None if self.offsets is None else len(self.offsets), "reference": list(self.reference),
                "preparation": self.preparation and self.preparation.to_dict(),
                "published": [{"model": row.model, "percent": list(row.percent)} for row in self.published]}


def _shown(value: object) -> str:
    """Return a value as it is written on the command line.

    >>> _shown((224, 224)), _shown("crop")
    ('224x224', 'crop')
    """
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _grid(begin: int, end: int) -> tuple[Offset, ...]:
    """Return all pairs of offsets from `begin` to `end` inclusive, in row-major order."""
    values = range(begin, end + 1)
    return tuple(product(values, values))


_ANTIALIASED = 'Zhang, "Making convolutional networks shift-invariant again", ICML 2019'
_LPS = ('Rojas-Gomez et al., "Learnable polyphase sampling for shift invariant and equivariant convolutional '
        'networks", NeurIPS 2022')
_AFC = 'Michaeli et al., "Alias-free convnets: fractional shift invariance via polynomial activations", CVPR 2023'
_CONSISTENCY = {"accuracy": "middle_accuracy", "consistency": "consistency"}

PROTOCOLS: dict[str, Protocol] = {one.name: one for one in (
    Protocol(
        name="imagenet-consistency", source=f"{_ANTIALIASED}; {_LPS}, as S-Cons",
        definition="Probability that two of the 1,024 crops of 224 x 224 pixels at offsets 0 to 31, drawn uniformly "
                   "from the central 256 x 256 pixels of a photograph with a shorter side of 256, get the same label.",
        dataset="ImageNet validation set", metrics=_CONSISTENCY, mode="crop", image=(256, 256), canvas=(224, 224),
        offsets=_grid(0, 31), reference=(16, 16),
        preparation=Preparation(resize="shorter", shorter_side=256, crop=(256, 256)),
        published=tuple(Published(model=model, percent=percent) for model, percent in (
            ("ResNet18", (69.74, 85.11)), ("ResNet18, antialiased", (71.67, 88.36)),
            ("ResNet50", (76.16, 89.20)), ("ResNet50, antialiased", (77.41, 91.32)),
            ("VGG16", (71.59, 88.52)), ("VGG16, antialiased", (72.96, 90.91)),
            ("MobileNetV2", (71.88, 86.50)), ("MobileNetV2, antialiased", (72.72, 87.73))))),
    Protocol(
        name="cifar-s-consistency", source=_LPS,
        definition="Probability that two of the 36 crops of 32 x 32 pixels at offsets -3 to 2 of an image with a zero "
                   "padding of 3 pixels, drawn uniformly, get the same label.",
        # The crop at (-dy, -dx) is the image shifted by (dy, dx), so crops at -3 to 2 are shifts by -2 to 3.
        dataset="CIFAR-10 test set", metrics=_CONSISTENCY, mode="fill", fill="constant", image=(32, 32),
        canvas=(32, 32), offsets=_grid(-2, 3)),
    Protocol(
        name="cifar-c-consistency", source=_LPS,
        definition="Probability that two of the 1,024 circular shifts of an image of 32 x 32 pixels, drawn uniformly, "
                   "get the same label.",
        dataset="CIFAR-10 test set", metrics=_CONSISTENCY, mode="circular", image=(32, 32), canvas=(32, 32)),
    Protocol(
        name="afc-worst-case", source=_AFC,
        definition="Fraction of images with a correct prediction unshifted and after all 961 circular shifts by 1 to "
                   "31 pixels down and 1 to 31 pixels to the right.",
        dataset="ImageNet validation set", mode="circular", least=32,
        metrics={"accuracy": "middle_accuracy", "adversarial accuracy": "worst_case_accuracy"},
        offsets=((0, 0), *_grid(1, 31)),
        preparation=Preparation(resize="shorter", shorter_side=256, crop=(224, 224), interpolation="bicubic")),
)}
"""All protocols by name. Published figures are those of the source."""


def protocol_named(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises:
        UsageError: if there is none.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
