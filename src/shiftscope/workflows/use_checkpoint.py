"""`shiftscope evaluate`, `predict` and `export`: use a trained checkpoint."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from shiftscope import data
from shiftscope.data.base import Split
from shiftscope.data.image_file import common_scale, read_image_file
from shiftscope.data.resizing import Target
from shiftscope.errors import UsageError, require
from shiftscope.evaluation import BruteForceEngine, evaluate
from shiftscope.geometry import Size
from shiftscope.models import OnnxModel, export_onnx
from shiftscope.models.forward import evaluating, placed_outputs
from shiftscope.models.sources import NO_OPTIONS, SourceOptions
from shiftscope.modules import as_module
from shiftscope.outputs import NONFINITE_CLASS, OutputType, predicted_classes, probabilities, resolve_output_type
from shiftscope.progress import Progress, SilentProgress
from shiftscope.reporting import (
    classified_gallery,
    confusion_matrix,
    prediction_figure,
    prediction_map_figure,
    save_figure,
)
from shiftscope.results import Evaluation
from shiftscope.runs.outputs import figure_files, new_files, record_files, require_writable
from shiftscope.text import valid_unicode
from shiftscope.workflows.load_inputs import (
    DESCRIBED,
    DescribedOptions,
    LoadedCheckpoint,
    open_described,
    open_model,
    stored_preparation,
)

CONFUSION, CLASSIFIED = "confusion", "classified"
"""Names of the figures of an evaluation."""

EXAMPLE = Path(data.__file__).with_name("example.png")
"""A synthetic garment that `predict` classifies if no file is named: image 7 of the test set of `garments`."""

MAP_PLACEMENTS, MAP_SIDE = 1024, 36
"""Largest number of placements of a map, and of its rows and columns."""

DARK, LIGHT = 64, 160
"""Pixel values: an image with a lighter border than `LIGHT` is inverted if the background is darker than `DARK`."""


def evaluate_checkpoint(checkpoint: Path | str, overrides: dict[str, Any] | None = None, *, split: Split = "test",
                        out: Path | None = None, overwrite: bool = False, seed: int = 0,
                        output_type: OutputType | None = None, class_map: Path | None = None, device: str = "auto",
                        loading: SourceOptions = NO_OPTIONS, progress: Progress) -> Evaluation:
    """Evaluate a checkpoint on the dataset that it was trained on, or a model of any source on a dataset.

    `loading` are further arguments of `load_model`. `overrides` are fields of `DataSettings` that differ from those of
    the training. `class_map` is a file that names the output of each class, see `read_class_map`. Record and figures
    are written into `out`; if one of the files exists, or the folder cannot be written, an error is raised first.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `evaluate`.
    """
    with new_files(out, [*record_files("."), *figure_files(CONFUSION, CLASSIFIED)], overwrite=overwrite):
        classes = None if class_map is None else data.read_class_map(class_map)
        loaded = open_model(checkpoint, overrides or {}, device=device, class_map=classes, progress=progress, **loading)
        evaluation = evaluate(loaded.model, loaded.data, placement=loaded.placement, split=split, seed=seed,
                              validation=loaded.validation, name=loaded.name, trained=loaded.trained,
                              output_type=output_type, progress=progress, **loaded.outputs())
        if out is not None:
            evaluation.save(out)
            save_figure(confusion_matrix(evaluation), out, CONFUSION)
            save_figure(classified_gallery(evaluation), out, CLASSIFIED)
    return evaluation


def export_checkpoint(checkpoint: Path | str, file: Path, *, batch: int | None = None, overwrite: bool = False,
                      loading: DescribedOptions = DESCRIBED) -> Path:
    """Write the model of a checkpoint or another source as an ONNX file; see `export_onnx` and `open_described`.

    Raises:
        UsageError: if the batch is below 1, the name does not end in .onnx, or the file exists without `overwrite`.
        CheckpointError, OutputError: if the checkpoint cannot be loaded, or the file cannot be written.
    """
    require(batch is None or batch >= 1, "batch", batch, "an integer of at least 1")
    require(file.suffix == ".onnx", "onnx", str(file), "a file name that ends in .onnx")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: choose another file with --onnx")
    if os.path.lexists(file) and not overwrite:
        raise UsageError(f"{file} already exists; replace it with --overwrite, or choose another file with --onnx")
    require_writable(file.parent)
    loaded = open_described(checkpoint, device="cpu", **loading)
    if isinstance(as_module(getattr(loaded.model, "model", loaded.model)), OnnxModel):
        raise UsageError(f"{checkpoint} is an ONNX file already: copy it, or export the model that it was made from")
    return export_onnx(loaded.model, file, (loaded.channels, *loaded.placement.canvas), batch=batch)


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """How an image file was fitted into a model's image size."""

    inverted: bool
    size: Size
    """(height, width) in pixels of the file, after its EXIF orientation."""
    scaled: Size
    """(height, width) of the image after scaling; the rest of the model's image size is padding, or the rest of this
    image was cropped."""


def predict_files(checkpoint: Path | str, images: Sequence[Path] = (), *, offset: tuple[int, int] | None = None,
                  output_type: OutputType | None = None, maps: bool = True, out: Path | None = None,
                  device: str = "auto", loading: DescribedOptions = DESCRIBED,
                  progress: Progress | None = None) -> list[dict[str, Any]]:
    """Classify image files, each fitted into the model's image size and placed on its canvas.

    Args:
        checkpoint: checkpoint folder or run folder, or another source of `load_model`.
        images: PNG or JPEG files; none: `EXAMPLE`.
        offset: (dy, dx) of the image's top-left corner on the canvas; None: the middle.
        output_type: "logits", "probabilities" or "log-probabilities"; None: determined from these images.
        maps: also predict each image at all placements, or at every n-th offset if there are more than `MAP_PLACEMENTS`
            placements or `MAP_SIDE` rows or columns.
        out: folder for a figure of the model's input, and one of the maps.
        loading: further arguments of `open_described`.

    Returns:
        One dictionary per file: file, offset, class, confidence, scores (class -> probability), output_type, inverted,
        size and scaled (see `Fitting`), and map: None, or a dictionary of rows and columns (values of dy and dx),
        classes (a list per row), step, and same_class (fraction of these placements with the class at the offset).
        If the output is NaN or its maximum is infinite, class and scores are None, and the confidence is 0.

    Raises:
        CheckpointError, DataError: if the checkpoint cannot be loaded, or a file is missing or not an image.
        UsageError: if the offset is not one of the placement's.
    """
    how: DescribedOptions = {**loading, "output_type": output_type}
    loaded, images = open_described(checkpoint, device=device, progress=progress, **how), list(images) or [EXAMPLE]
    maps = maps and loaded.placement.count > 1
    offset = offset if offset is not None else loaded.placement.middle
    _check_offset(offset, loaded)
    pixels, prepared = fit_images(images, loaded, progress)
    pixels = pixels.to(loaded.device)
    offsets = torch.tensor([offset] * len(pixels), device=loaded.device)
    with evaluating(loaded.model):
        outputs = placed_outputs(loaded.model, pixels, offsets, loaded.placement).cpu()
    kind = resolve_output_type(output_type, outputs)
    classes, scores = predicted_classes(outputs).tolist(), probabilities(outputs, kind)
    found = prediction_maps(pixels, classes, loaded, progress) if maps else [None] * len(images)
    common = {"offset": list(offset), "output_type": kind}
    predictions = [{"file": valid_unicode(EXAMPLE.name if path == EXAMPLE else str(path)), **asdict(how), **common,
                    **_prediction(label, values, loaded.class_names), "map": at_all}
                   for path, how, label, values, at_all in zip(images, prepared, classes, scores, found, strict=True)]
    if out is not None:
        canvases = loaded.placement.place(pixels, offsets).cpu().numpy()
        save_figure(prediction_figure(predictions, canvases), out, "predictions")
        if maps:
            save_figure(prediction_map_figure(predictions), out, "prediction-maps")
    return predictions


def prediction_maps(pixels: torch.Tensor, classes: Sequence[int], loaded: LoadedCheckpoint,
                    progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return the map of each image, see `predict_files`.

    Args:
        pixels: uint8 (N, C, h, w).
        classes: the class of each image at the offset of the user.
    """
    placement, step = loaded.placement, 1
    while placement.count > MAP_PLACEMENTS or max(map(len, placement.axes)) > MAP_SIDE:
        step += 1
        placement = loaded.placement.narrowed(step=step)
    engine = BruteForceEngine(loaded.model, placement, pixels.shape[1:])
    task = (progress or SilentProgress()).task(f"predict at {placement.count:,} placements", len(pixels))
    labels = []
    try:
        for batch in pixels.split(engine.images_per_call):
            labels.append(predicted_classes(engine.logits(batch)).cpu())
            task.advance(len(batch))
    finally:
        task.close()
    rows, columns = (axis.tolist() for axis in placement.axes)
    names = {NONFINITE_CLASS: None} | dict(enumerate(loaded.class_names))
    return [{"rows": rows, "columns": columns, "step": step, "same_class": float((found == label).double().mean()),
             "classes": [[names[one] for one in row] for row in found.view(len(rows), len(columns)).tolist()]}
            for found, label in zip(torch.cat(labels), classes, strict=True)]


def fit_images(paths: Sequence[Path], loaded: LoadedCheckpoint,
               progress: Progress | None = None) -> tuple[torch.Tensor, list[Fitting]]:
    """Return image files as uint8 (N, C, h, w), and how they were prepared; see `fit_image`.

    Files with more than 8 bits per channel share one bit depth; `progress` receives a note about it.
    """
    scale = common_scale(paths)
    for note in scale.notes():
        (progress or SilentProgress()).note(note)
    fitted = [fit_image(path, loaded, scale.bits) for path in paths]
    return torch.stack([image for image, _ in fitted]), [how for _, how in fitted]


def fit_image(path: Path, loaded: LoadedCheckpoint, bits: int) -> tuple[torch.Tensor, Fitting]:
    """Return an image file as uint8 (C, h, w), and how it was prepared.

    It is resized to (h, w) as the images of the training were; by default the aspect ratio is kept, and it is padded
    with the background. If the model was trained on other data than image files, an image with a light border is
    inverted if the model's background is dark, such as photographs of garments on white. `bits` is the bit depth of
    images with more than 8 bits per channel.
    """
    background, resize = loaded.placement.background, loaded.config.provenance.resize
    background = background if isinstance(background, int) else 0
    target = replace(Target.sized(stored_preparation(loaded.config), loaded.placement.image), background=background)
    pixels = read_image_file(path, bits=bits).numpy()
    gray = np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))
    inverted = resize is None and background < DARK and _border_level(gray) > LIGHT
    if loaded.channels == 1:
        pixels = gray[None]
    size = (pixels.shape[1], pixels.shape[2])
    target.check(size, str(path))
    fitted = torch.from_numpy(np.array(target.fit(255 - pixels if inverted else pixels)))
    return fitted, Fitting(inverted=inverted, size=size, scaled=target.scaled(size))


def _border_level(gray: np.ndarray) -> float:
    return float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))


def _check_offset(offset: tuple[int, int], loaded: LoadedCheckpoint) -> None:
    rows, columns = (axis.tolist() for axis in loaded.placement.axes)
    if offset[0] not in rows or offset[1] not in columns:
        raise UsageError(f"offset {offset} is not on the canvas: rows go from {rows[0]} to {rows[-1]}, columns from "
                         f"{columns[0]} to {columns[-1]}")


def _prediction(label: int, scores: torch.Tensor, names: list[str]) -> dict[str, Any]:
    """Return the predicted class, its probability and those of all classes."""
    if label == NONFINITE_CLASS:
        return {"class": None, "confidence": 0.0, "scores": None}
    return {"class": names[label], "confidence": float(scores[label]),
            "scores": dict(zip(names, scores.tolist(), strict=True))}
