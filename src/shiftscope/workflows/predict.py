"""`shiftscope predict`: a trained model and one's own pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from shiftscope.data.picture import read_picture, see_levels
from shiftscope.errors import UsageError
from shiftscope.models.forward import evaluating, placed_outputs
from shiftscope.outputs import NONFINITE_CLASS, OutputType, predicted_classes, probabilities, resolve_output_type
from shiftscope.progress import Progress, SilentProgress
from shiftscope.text import valid_unicode
from shiftscope.workflows.checkpoints import Trained, open_checkpoint


def predict_files(checkpoint: Path, images: list[Path], *, offset: tuple[int, int] | None = None,
                  output_type: OutputType | None = None, out: Path | None = None, device: str = "auto",
                  allow_code: str | None = None, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Classify image files, each fitted into the model's image size and laid on its canvas.

    Args:
        checkpoint: checkpoint folder or run folder.
        images: PNG or JPEG files.
        offset: (dy, dx) of the image's top-left corner on the canvas; the middle unless given.
        output_type: what the model returns: "logits", "probabilities" or "log-probabilities"; determined on these
            images unless given.
        out: folder for a figure of what the model saw.
        progress: where it is told how images of more than 8 bits are read; all files share one depth.

    Returns:
        A dictionary a file: file, offset, class, confidence, scores (class -> probability), inverted, output_type.
        Class and scores are None, and the confidence is 0, where the output is NaN or its maximum is infinite.

    Raises:
        DataError: a file is missing or not an image.
        UsageError: the offset is not one of the placement's.
        CheckpointError: the checkpoint cannot be loaded.
    """
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    where = offset if offset is not None else trained.placement.middle
    _check_offset(where, trained)
    pixels, inverted = fit_pictures(images, trained, progress)
    pixels = pixels.to(trained.device)
    offsets = torch.tensor([where] * len(pixels), device=trained.device)
    with evaluating(trained.model):
        outputs = placed_outputs(trained.model, pixels, offsets, trained.placement).cpu()
    kind = resolve_output_type(output_type, outputs)
    known = {"offset": list(where), "output_type": kind}
    classes, scores = predicted_classes(outputs).tolist(), probabilities(outputs, kind)
    predictions = [{"file": valid_unicode(str(path)), "inverted": was, **known, **_answer(best, found, trained.class_names)}
               for path, was, best, found in zip(images, inverted, classes, scores, strict=True)]
    if out is not None:
        _draw(predictions, trained.placement.place(pixels, offsets).cpu().numpy(), out)
    return predictions


def fit_pictures(paths: Sequence[Path], trained: Trained,
                 progress: Progress | None = None) -> tuple[torch.Tensor, list[bool]]:
    """Return picture files as uint8 (N, C, h, w), and which of them were inverted; see `fit_picture`.

    Files with more than 8 bits a channel share one depth; `progress` is told how they were read.
    """
    scale = see_levels(paths)
    for note in scale.notes():
        (progress or SilentProgress()).note(note)
    read = [fit_picture(path, trained, scale.bits) for path in paths]
    return torch.stack([picture for picture, _ in read]), [inverted for _, inverted in read]


def fit_picture(path: Path, trained: Trained, bits: int) -> tuple[torch.Tensor, bool]:
    """Return the picture as uint8 (C, h, w), and whether it was inverted.

    It is scaled to fit (h, w), its sides kept in proportion, the rest filled with the background. A picture whose rim
    is light where the model knows a dark background is inverted: photographs show garments on white.

    Args:
        bits: depth of a picture with more than 8 bits a channel.
    """
    color = Image.fromarray(read_picture(path, bits=bits).permute(1, 2, 0).numpy())
    picture = color.convert("L") if trained.channels == 1 else color
    ground = trained.placement.background if isinstance(trained.placement.background, int) else 0
    inverted = ground < 64 and _rim_level(picture) > 160
    if inverted:
        picture = ImageOps.invert(picture)
    height, width = trained.placement.image
    fill = ground if trained.channels == 1 else (ground,) * 3
    picture = ImageOps.pad(picture, (width, height), method=Image.Resampling.LANCZOS, color=fill)
    values = torch.from_numpy(np.array(picture))
    return (values[None] if trained.channels == 1 else values.permute(2, 0, 1)), inverted


def _rim_level(picture: Image.Image) -> float:
    gray = np.asarray(picture.convert("L"))
    return float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))


def _check_offset(offset: tuple[int, int], trained: Trained) -> None:
    rows, columns = (axis.tolist() for axis in trained.placement.axes)
    if offset[0] not in rows or offset[1] not in columns:
        raise UsageError(f"offset {offset} is not on the canvas: rows go from {rows[0]} to {rows[-1]}, columns from "
                         f"{columns[0]} to {columns[-1]}")


def _answer(best: int, scores: torch.Tensor, names: list[str]) -> dict[str, Any]:
    """Return the predicted class, its probability and those of all classes."""
    if best == NONFINITE_CLASS:
        return {"class": None, "confidence": 0.0, "scores": None}
    return {"class": names[best], "confidence": float(scores[best]),
            "scores": dict(zip(names, scores.tolist(), strict=True))}


def _draw(predictions: list[dict[str, Any]], canvases: np.ndarray, out: Path) -> None:
    from shiftscope.reporting import prediction_figure, save_figure

    save_figure(prediction_figure(predictions, canvases), out, "predictions")
