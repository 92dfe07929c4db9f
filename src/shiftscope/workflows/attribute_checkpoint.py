"""Which pixels decide what a checkpoint says: of one's own pictures, or of the first test images."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shiftscope.errors import UsageError, require
from shiftscope.progress import Progress
from shiftscope.reporting import image_credit, save_figure
from shiftscope.reporting.attribution import attribution_figure
from shiftscope.results import Attribution
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files, record_files
from shiftscope.visualization.attribution import attribute, default_methods
from shiftscope.visualization.attribution_methods import METHODS
from shiftscope.workflows.checkpoints import Trained, open_checkpoint
from shiftscope.workflows.predict import fit_pictures
from shiftscope.workflows.subjects import checkpoint_subject

FIGURE = "attribution"


def attribute_checkpoint(checkpoint: Path, images: Sequence[Path] = (), *, count: int = 6,
                         methods: Sequence[str] | None = None, target: str | None = None, layer: str | None = None,
                         out: Path, overwrite: bool = False, overrides: dict[str, Any] | None = None, seed: int = 0,
                         device: str = "auto", allow_code: str | None = None, progress: Progress) -> list[Attribution]:
    """Explain what a model says of pictures; write a record a method and one figure into `out`.

    Args:
        checkpoint: checkpoint folder or run folder.
        images: PNG or JPEG files, fitted into the model's image size and laid in the middle of its canvas. Unless
            given, the first `count` test images of the dataset that it was trained on, each at one random place.
        methods: of "integrated-gradients", "grad-cam", "occlusion" and "saliency"; those that suit the model unless
            given.
        target: "class:Bag", or a unit of a layer, "fc1:17"; for each picture the class that the model chooses unless
            given.
        layer: for Grad-CAM, the layer whose map is shown; the last convolution unless given.
        out: folder for the figure; a method's record lies in a subfolder named after it.
        overwrite: replace files that are there.
        overrides: fields of `DataSettings` for the test images.
        seed: fixes their places.

    Returns:
        One attribution a method.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `attribute`.
    """
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    shape = (trained.channels, *trained.placement.canvas)
    chosen = list(methods) if methods is not None else default_methods(trained.model, shape)
    require(bool(chosen), "methods", chosen, "at least one")
    if layer is not None and "grad-cam" not in chosen:
        raise UsageError(f"the layer {layer!r} is for the method grad-cam, which is not among {', '.join(chosen)}: add "
                         "it, or leave the layer out")
    with new_files(out, attribution_files(chosen), overwrite=overwrite):
        if images:
            pixels, labels, credit = _files(images, trained, progress), None, ""
        else:
            pixels, labels, credit = _test_images(trained, count, overrides or {}, seed, progress)
        made = [attribute(trained.model, pixels, target, method=method, layer=layer if method == "grad-cam" else None,
                          baseline=trained.placement.background, labels=labels, class_names=trained.class_names,
                          name=trained.config.name, progress=progress) for method in chosen]
        for found in made:
            found.save(out / _folder(found.method))
        save_figure(attribution_figure(made, credit=credit, limit=len(pixels)), out, FIGURE)
    return made


def attribution_files(methods: Iterable[str] = METHODS) -> list[str]:
    """Return the files that `attribute_checkpoint` writes with these methods."""
    return [*figure_files(FIGURE), *record_files(*map(_folder, methods))]


def _folder(method: str) -> str:
    return slug(f"attribution-{method}")


def _files(images: Sequence[Path], trained: Trained, progress: Progress) -> torch.Tensor:
    """Return picture files on their canvases, uint8 (B, C, H, W)."""
    pixels, _ = fit_pictures(images, trained, progress)
    return trained.placement.place(pixels, trained.placement.centered(len(pixels)))


def _test_images(trained: Trained, count: int, overrides: dict[str, Any], seed: int,
                 progress: Progress) -> tuple[torch.Tensor, np.ndarray, str]:
    """Return the first test images on their canvases, their classes, and where they come from."""
    require(count >= 1, "count", count, "at least 1")
    subject = checkpoint_subject(trained, overrides, progress)
    rows = torch.arange(min(count, len(subject.data.test)))
    canvases = subject.placement.place(subject.data.test.gather(rows), subject.placement.sample(rows, seed=seed))
    credit = image_credit(subject.data.name, synthetic=subject.data.synthetic)
    return canvases, subject.data.test.labels[rows].numpy(), credit
