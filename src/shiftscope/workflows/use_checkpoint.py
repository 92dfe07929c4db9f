"""`shiftscope evaluate`, `predict` and `export`: use a trained checkpoint."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from shiftscope import data, files
from shiftscope.auditing.engines import AuditInputs, choose_engine
from shiftscope.data.base import Split, TensorImages
from shiftscope.data.image_file import common_scale, read_image_file
from shiftscope.data.layout import image_files, list_layout
from shiftscope.data.resizing import Target
from shiftscope.errors import UsageError, require
from shiftscope.evaluation import BruteForceEngine, evaluate
from shiftscope.evaluation.brute import MEMORY
from shiftscope.geometry import Size
from shiftscope.models import OnnxModel, export_onnx
from shiftscope.models.forward import evaluating, placed_outputs
from shiftscope.models.sources import NO_OPTIONS, SourceOptions
from shiftscope.modules import as_module
from shiftscope.outputs import (
    NONFINITE_CLASS,
    OutputType,
    classify,
    predicted_classes,
    probabilities,
    resolve_output_type,
    top_two,
)
from shiftscope.placement import Placement, default_fill
from shiftscope.progress import Progress, SilentProgress
from shiftscope.reporting import (
    classified_gallery,
    confusion_matrix,
    everywhere_csv,
    everywhere_figure,
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

TABLE, MOST_ROWS = "everywhere.csv", 2_000_000
"""File of the table of a map of all placements, and its largest number of rows."""

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
                  output_type: OutputType | None = None, maps: bool = True, everywhere: bool = False,
                  max_shift: int | None = None, step: int = 1, out: Path | None = None, overwrite: bool = False,
                  device: str = "auto", loading: DescribedOptions = DESCRIBED,
                  progress: Progress | None = None) -> list[dict[str, Any]]:
    """Classify image files, each fitted into the model's image size and placed on its canvas.

    Args:
        checkpoint: checkpoint folder or run folder, or another source of `load_model`.
        images: PNG or JPEG files, and folders of them; none: `EXAMPLE`.
        offset: (dy, dx) of the image's top-left corner on the canvas; None: the middle.
        output_type: "logits", "probabilities" or "log-probabilities"; None: determined from these images.
        maps: also predict each image at all placements, or at every n-th offset if there are more than `MAP_PLACEMENTS`
            placements or `MAP_SIDE` rows or columns.
        everywhere: instead, predict each image at all placements, with confidences and margins. A model with the input
            size of its images has the placements of mode fill.
        max_shift, step: which placements, see `Placement`, with `everywhere`.
        out: folder for a figure of the model's input, and one of the maps; with `everywhere` also for a table.
        overwrite: replace these files.
        loading: further arguments of `open_described`.

    Returns:
        One dictionary per file: file, offset, class, confidence, scores (class -> probability), output_type, inverted,
        size and scaled (see `Fitting`), and map: None, or a dictionary of rows and columns (values of dy and dx),
        classes (a list per row), step, and same_class (fraction of these placements with the class at the offset).
        With `everywhere` the map also has mode, max_shift, confidence and margin (a list per row; the margin is the
        difference of the two largest outputs, None if it is not finite).
        If the output is NaN or its maximum is infinite, class and scores are None, and the confidence is 0.

    Raises:
        CheckpointError, DataError: if the checkpoint cannot be loaded, or a file is missing or not an image.
        UsageError: if the offset is not one of the placement's, or a file in `out` exists.
    """
    with new_files(out, _prediction_files(maps, everywhere), overwrite=overwrite):
        how: DescribedOptions = {**loading, "output_type": output_type}
        images = _image_files(images) or [EXAMPLE]
        loaded = open_described(checkpoint, device=device, progress=progress, **how)
        if everywhere:
            loaded = replace(loaded, placement=_everywhere(loaded, max_shift, step, len(images)))
        offset = offset if offset is not None else loaded.placement.middle
        _check_offset(offset, loaded)
        maps = (maps or everywhere) and loaded.placement.count > 1
        predictions, canvases = _predict(loaded, images, offset, output_type, progress, maps=maps,
                                         everywhere=everywhere)
        if out is not None:
            _save_predictions(predictions, canvases, out, everywhere)
    return predictions


def _predict(loaded: LoadedCheckpoint, images: Sequence[Path], offset: tuple[int, int], output_type: OutputType | None,
             progress: Progress | None, *, maps: bool, everywhere: bool) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the predictions of `predict_files`, and the model's input."""
    pixels, prepared = fit_images(images, loaded, progress)
    pixels = pixels.to(loaded.device)
    offsets = torch.tensor([offset] * len(pixels), device=loaded.device)
    with evaluating(loaded.model):
        outputs = placed_outputs(loaded.model, pixels, offsets, loaded.placement).cpu()
    kind = resolve_output_type(output_type, outputs)
    classes, scores = predicted_classes(outputs).tolist(), probabilities(outputs, kind)
    found = [None] * len(images) if not maps else prediction_maps(pixels, classes, loaded, progress,
                                                                  kind if everywhere else None)
    common = {"offset": list(offset), "output_type": kind}
    predictions = [{"file": valid_unicode(EXAMPLE.name if path == EXAMPLE else str(path)), **asdict(how), **common,
                    **_prediction(label, values, loaded.class_names), "map": at_all}
                   for path, how, label, values, at_all in zip(images, prepared, classes, scores, found, strict=True)]
    return predictions, loaded.placement.place(pixels, offsets).cpu().numpy()


def _image_files(paths: Sequence[Path]) -> list[Path]:
    """Return files, and all image files of the folders among them, sorted by path."""
    found = []
    for path in paths:
        layout = list_layout(path) if path.is_dir() else None
        found += [path] if layout is None else sorted(image_files(layout.train) + image_files(layout.test))
    return found


def _prediction_files(maps: bool, everywhere: bool) -> list[str]:
    more = [*figure_files("prediction-everywhere"), TABLE] if everywhere else figure_files(*["prediction-maps"] * maps)
    return [*figure_files("predictions"), *more]


def _save_predictions(predictions: list[dict[str, Any]], canvases: np.ndarray, out: Path, everywhere: bool) -> None:
    save_figure(prediction_figure(predictions, canvases), out, "predictions")
    if everywhere:
        files.write_text(out / TABLE, everywhere_csv(predictions))
        save_figure(everywhere_figure(predictions), out, "prediction-everywhere")
    elif predictions[0]["map"] is not None:
        save_figure(prediction_map_figure(predictions), out, "prediction-maps")


def _everywhere(loaded: LoadedCheckpoint, max_shift: int | None, step: int, images: int) -> Placement:
    """Return the placements of a map of all placements."""
    placement = loaded.placement
    if placement.count == 1:
        shape = (loaded.channels, *placement.canvas)
        placement = Placement(image=placement.canvas, canvas=placement.canvas, mode="fill", fill=default_fill(shape))
    placement = placement.narrowed(max_shift=max_shift, step=step)
    if placement.count < 2:
        raise UsageError(f"--everywhere needs more than one placement, and with step {step} and max_shift {max_shift} "
                         "only the middle one is left; choose a smaller step or a larger max_shift")
    if placement.count * images > MOST_ROWS:
        raise UsageError(f"--everywhere would write {placement.count * images:,} rows, {placement.count:,} placements "
                         f"of {images:,} images, at most {MOST_ROWS:,} are possible: name fewer images, or use --step "
                         "or --max-shift")
    return placement


def prediction_maps(pixels: torch.Tensor, classes: Sequence[int], loaded: LoadedCheckpoint,
                    progress: Progress | None = None, output_type: OutputType | None = None) -> list[dict[str, Any]]:
    """Return the map of each image, see `predict_files`.

    Args:
        pixels: uint8 (N, C, h, w).
        classes: the class of each image at the offset of the user.
        output_type: type of the outputs, for a map of all placements with confidence and margin; None: without them.
    """
    placement = loaded.placement
    while output_type is None and (placement.count > MAP_PLACEMENTS or max(map(len, placement.axes)) > MAP_SIDE):
        placement = loaded.placement.narrowed(step=placement.step + 1)
    plain = BruteForceEngine(loaded.model, placement, pixels.shape[1:])
    task = (progress or SilentProgress()).task(f"predict at {placement.count:,} placements", len(pixels))
    maps: list[dict[str, Any]] = []
    try:
        for found in _outputs_at_all(plain, pixels):
            for outputs, label in zip(found, classes[len(maps):], strict=False):
                maps.append(_map(outputs, label, placement, loaded.class_names, output_type))
            task.advance(len(found))
    finally:
        task.close()
    return maps


def _outputs_at_all(plain: BruteForceEngine, pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the outputs (B, P, K) of batches: the first image alone, the others by the engine that suits their time."""
    begun = time.perf_counter()
    first, others = plain.logits(pixels[:1]), pixels[1:]
    seconds = (time.perf_counter() - begun) / plain.placement.count
    yield first
    if len(others):
        inputs = AuditInputs(model=plain.model, images=TensorImages(others.cpu(), None), placement=plain.placement,
                             offsets=plain.placement.offsets(), sampled=False, seed=0, memory=MEMORY)
        choice = choose_engine(inputs, "auto", [], seconds)
        engine = plain if choice.kind == "brute" else choice.engine
        yield from map(engine.logits, others.split(engine.images_per_call))


def _map(outputs: torch.Tensor, label: int, placement: Placement, names: Sequence[str],
         output_type: OutputType | None) -> dict[str, Any]:
    """Return the map of one image from its outputs (P, K); `label` is its class at the offset of the user."""
    rows, columns = (axis.tolist() for axis in placement.axes)
    found, named = predicted_classes(outputs).cpu(), {NONFINITE_CLASS: None} | dict(enumerate(names))

    def grid(values: torch.Tensor) -> list[list[Any]]:
        return values.view(len(rows), len(columns)).tolist()

    map = {"rows": rows, "columns": columns, "step": placement.step,
           "same_class": float((found == label).double().mean()),
           "classes": [[named[one] for one in row] for row in grid(found)]}
    if output_type is None:
        return map
    _, best, second = top_two(outputs)
    margins = grid(best.double() - second.double())
    margin = [[value if math.isfinite(value) else None for value in row] for row in margins]
    return map | {"mode": placement.geometry.mode_label, "max_shift": placement.max_shift,
                  "confidence": grid(classify(outputs, output_type)[1].double()), "margin": margin}


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
