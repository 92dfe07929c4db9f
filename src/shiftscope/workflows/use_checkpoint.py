"""`shiftscope evaluate`, `predict` and `export`: use a trained checkpoint."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from shiftscope.data.base import Split
from shiftscope.data.image_file import common_scale, read_image_file
from shiftscope.errors import UsageError, require
from shiftscope.evaluation import evaluate
from shiftscope.models import export_onnx
from shiftscope.models.forward import evaluating, placed_outputs
from shiftscope.outputs import NONFINITE_CLASS, OutputType, predicted_classes, probabilities, resolve_output_type
from shiftscope.progress import Progress, SilentProgress
from shiftscope.reporting import classified_gallery, confusion_matrix, prediction_figure, save_figure
from shiftscope.results import Evaluation
from shiftscope.runs.outputs import figure_files, new_files, record_files, require_writable
from shiftscope.text import valid_unicode
from shiftscope.workflows.load_inputs import LoadedCheckpoint, add_data, open_checkpoint

CONFUSION, CLASSIFIED = "confusion", "classified"
"""Names of the figures of an evaluation."""

DARK, LIGHT = 64, 160
"""Pixel values: an image with a lighter border than `LIGHT` is inverted if the background is darker than `DARK`."""


def evaluate_checkpoint(checkpoint: Path, overrides: dict[str, Any] | None = None, *, split: Split = "test",
                        out: Path | None = None, overwrite: bool = False, seed: int = 0,
                        output_type: OutputType | None = None, device: str = "auto", allow_code: str | None = None,
                        progress: Progress) -> Evaluation:
    """Evaluate a checkpoint on the dataset that it was trained on, or on another one with the same classes.

    `overrides` are fields of `DataSettings` that differ from those of the training. Record and figures are written into
    `out`; if one of the files exists, or the folder cannot be written, an error is raised first.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `evaluate`.
    """
    with new_files(out, [*record_files("."), *figure_files(CONFUSION, CLASSIFIED)], overwrite=overwrite):
        loaded = add_data(open_checkpoint(checkpoint, device=device, allow_code=allow_code), overrides or {}, progress)
        evaluation = evaluate(loaded.model, loaded.data, placement=loaded.placement, split=split, seed=seed,
                              validation=loaded.validation, name=loaded.name, trained=loaded.trained,
                              output_type=output_type, progress=progress)
        if out is not None:
            evaluation.save(out)
            save_figure(confusion_matrix(evaluation), out, CONFUSION)
            save_figure(classified_gallery(evaluation), out, CLASSIFIED)
    return evaluation


def export_checkpoint(checkpoint: Path, file: Path, *, batch: int | None = None, overwrite: bool = False,
                      allow_code: str | None = None) -> Path:
    """Write a checkpoint's model as an ONNX file; see `export_onnx`.

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
    loaded = open_checkpoint(checkpoint, device="cpu", allow_code=allow_code)
    return export_onnx(loaded.model, file, (loaded.channels, *loaded.placement.canvas), batch=batch)


def predict_files(checkpoint: Path, images: list[Path], *, offset: tuple[int, int] | None = None,
                  output_type: OutputType | None = None, out: Path | None = None, device: str = "auto",
                  allow_code: str | None = None, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Classify image files, each fitted into the model's image size and placed on its canvas.

    Args:
        checkpoint: checkpoint folder or run folder.
        images: PNG or JPEG files.
        offset: (dy, dx) of the image's top-left corner on the canvas; None: the middle.
        output_type: "logits", "probabilities" or "log-probabilities"; None: determined from these images.
        out: folder for a figure of the model's input.

    Returns:
        One dictionary per file: file, offset, class, confidence, scores (class -> probability), inverted, output_type.
        If the output is NaN or its maximum is infinite, class and scores are None, and the confidence is 0.

    Raises:
        CheckpointError, DataError: if the checkpoint cannot be loaded, or a file is missing or not an image.
        UsageError: if the offset is not one of the placement's.
    """
    loaded = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    offset = offset if offset is not None else loaded.placement.middle
    _check_offset(offset, loaded)
    pixels, inverted = fit_images(images, loaded, progress)
    pixels = pixels.to(loaded.device)
    offsets = torch.tensor([offset] * len(pixels), device=loaded.device)
    with evaluating(loaded.model):
        outputs = placed_outputs(loaded.model, pixels, offsets, loaded.placement).cpu()
    kind = resolve_output_type(output_type, outputs)
    common = {"offset": list(offset), "output_type": kind}
    classes, scores = predicted_classes(outputs).tolist(), probabilities(outputs, kind)
    predictions = [{"file": valid_unicode(str(path)), "inverted": was, **common,
                    **_prediction(label, values, loaded.class_names)}
                   for path, was, label, values in zip(images, inverted, classes, scores, strict=True)]
    if out is not None:
        canvases = loaded.placement.place(pixels, offsets).cpu().numpy()
        save_figure(prediction_figure(predictions, canvases), out, "predictions")
    return predictions


def fit_images(paths: Sequence[Path], loaded: LoadedCheckpoint,
               progress: Progress | None = None) -> tuple[torch.Tensor, list[bool]]:
    """Return image files as uint8 (N, C, h, w), and which of them were inverted; see `fit_image`.

    Files with more than 8 bits per channel share one bit depth; `progress` receives a note about it.
    """
    scale = common_scale(paths)
    for note in scale.notes():
        (progress or SilentProgress()).note(note)
    fitted = [fit_image(path, loaded, scale.bits) for path in paths]
    return torch.stack([image for image, _ in fitted]), [inverted for _, inverted in fitted]


def fit_image(path: Path, loaded: LoadedCheckpoint, bits: int) -> tuple[torch.Tensor, bool]:
    """Return an image file as uint8 (C, h, w), and True if it was inverted.

    It is scaled to fit (h, w) with its aspect ratio kept, and padded with the background. An image with a light border
    is inverted if the model's background is dark, such as photographs of garments on white. `bits` is the bit depth of
    images with more than 8 bits per channel.
    """
    gray, background = loaded.channels == 1, loaded.placement.background
    background = background if isinstance(background, int) else 0
    image = Image.fromarray(read_image_file(path, bits=bits).permute(1, 2, 0).numpy())
    image = image.convert("L") if gray else image
    inverted = background < DARK and _border_level(image) > LIGHT
    if inverted:
        image = ImageOps.invert(image)
    height, width = loaded.placement.image
    image = ImageOps.pad(image, (width, height), method=Image.Resampling.LANCZOS,
                         color=background if gray else (background,) * 3)
    values = torch.from_numpy(np.array(image))
    return (values[None] if gray else values.permute(2, 0, 1)), inverted


def _border_level(image: Image.Image) -> float:
    gray = np.asarray(image.convert("L"))
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
