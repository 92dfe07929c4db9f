"""Load the images that a command works on, with their placement."""

from dataclasses import replace

import torch

from shiftscope.auditing.audit import protocol_placement
from shiftscope.data import Dataset, load_dataset
from shiftscope.data.catalog import is_folder
from shiftscope.placement import Placement, default_fill, texture
from shiftscope.preparation import PADDED, Preparation
from shiftscope.progress import Progress
from shiftscope.protocols import Protocol
from shiftscope.settings import DataSettings


def open_data(settings: DataSettings, progress: Progress, source: Preparation | None = None,
              protocol: Protocol | None = None) -> tuple[Dataset, Placement]:
    """Return the dataset and the placement that the settings describe; other arguments as in `load_data`."""
    data = load_data(settings, progress, source, protocol)
    return data, placement_for(data, settings, protocol)


def load_data(settings: DataSettings, progress: Progress, source: Preparation | None = None,
              protocol: Protocol | None = None) -> Dataset:
    """Load the dataset; images that do not fit on the canvas raise an error before they are decoded.

    Args:
        source: how the model's source or its training prepares photographs; the settings override it.
        protocol: published evaluation that sets how image files are prepared and placed, instead of the settings.
    """
    if not is_folder(settings.data):
        return load_dataset(settings.data, data_dir=settings.data_dir, limit=settings.limit, progress=progress,
                            image_size=settings.image_size, resize=settings.resize, shorter_side=settings.shorter_side,
                            interpolation=settings.interpolation)
    if protocol is not None:
        how, size = protocol.preparation or PADDED, protocol.preparation and protocol.preparation.crop
        return load_dataset(settings.data, limit=settings.limit, progress=progress, image_size=size, prepare=how,
                            check_size=protocol.geometry)
    how, size = preparation_for(settings, source)
    return load_dataset(settings.data, limit=settings.limit, progress=progress, image_size=size, prepare=how,
                        check_size=lambda size: _placement(size, settings, how.background))


def preparation_for(settings: DataSettings,
                    source: Preparation | None = None) -> tuple[Preparation, tuple[int, int] | None]:
    """Return the preparation of the images of a folder, and their (height, width); None: their usual size.

    In mode crop the default is the usual preparation of photographs, unless an image size is given.
    """
    cropped = settings.image_size is None and source is None and settings.mode == "crop"
    how = Preparation.of(source, resize=settings.resize or ("shorter" if cropped else None),
                         shorter_side=settings.shorter_side, interpolation=settings.interpolation,
                         background=settings.background if isinstance(settings.background, int) else 0)
    canvas = settings.canvas
    if settings.image_size is not None or canvas is None:
        return how, settings.image_size
    how = how.on_canvas(canvas, settings.mode)
    return how, how.image_size(canvas, settings.mode)


def placement_for(data: Dataset, settings: DataSettings, protocol: Protocol | None = None) -> Placement:
    """Return the placement of the dataset's images on the canvas of the settings, or that of a protocol."""
    if protocol is not None:
        return protocol_placement(protocol, data)
    channels, height, width = data.shape
    if settings.mode == "fill" and settings.fill is None:
        settings = replace(settings, fill=default_fill(data.shape))
    background = settings.background
    if background == "texture":
        background = texture(settings.canvas or (height, width), channels=channels)
    return _placement((height, width), settings, background)


def _placement(image: tuple[int, int], settings: DataSettings, background: int | torch.Tensor) -> Placement:
    return Placement(image=image, canvas=settings.canvas or image, mode=settings.mode, background=background,
                     fill=settings.fill, max_shift=settings.max_shift)
