"""Accuracy at random placements and centered, per class, with confusion matrices and a gallery."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from shiftscope.data.base import Dataset, ImageSet, Split, image_names
from shiftscope.data.class_map import ClassMap, Outputs, class_notes, with_output_labels
from shiftscope.distributed import from_first, together
from shiftscope.evaluation.notes import (
    few_images_notes,
    fill_notes,
    low_accuracy_notes,
    nonfinite_notes,
    one_class_notes,
    tie_notes,
)
from shiftscope.evaluation.predictions import Predictions, output_count, predict
from shiftscope.generators import seeded
from shiftscope.metrics import class_accuracies, confusion_counts, rounding_tolerance, wilson_interval
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import device_and_dtype, evaluating, placed_outputs
from shiftscope.models.select_output import OutputKey
from shiftscope.modules import Classifier, model_name, reports_model_errors
from shiftscope.outputs import OutputType, as_floats, resolve_output_type
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Evaluation
from shiftscope.settings import VALIDATION_IMAGES

GALLERY = 40
"""Number of images in the gallery of classified images."""

INSPECTED = 32
"""Images that determine the type of a model's outputs."""

CELL, CELLS, CELL_BYTES = 4, 400, 8 * 2**20
"""Images kept per cell of the confusion matrix, and for all cells: number (about 300 kB for small images) and bytes."""


@together("progress")
@reports_model_errors
def evaluate(model: Classifier, data: Dataset, *, placement: Placement | None = None, split: Split = "test",
             validation: int = VALIDATION_IMAGES, seed: int = 0, name: str | None = None, trained: str = "unknown",
             normalize: Normalization | None = None, preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
             output_type: OutputType | None = None, select_output: OutputKey | None = None,
             class_map: ClassMap | None = None, output_names: Sequence[str] | None = None,
             wordnet_ids: Sequence[str] | None = None, progress: Progress | None = None) -> Evaluation:
    """Evaluate a model with each image at one seeded random placement, and with each image centered.

    Args:
        model: any nn.Module or function that takes pixels in [0, 1], (B, C, H, W), and returns (B, K). It runs in eval
            mode; its mode is restored.
        data: a dataset with labels. It may have fewer classes than the model has outputs, see `class_map`.
        placement: default: a canvas of 56 x 56, or twice the image size if that is larger.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split that was used in training.
        seed: seed of the random placements and of the generators of torch, NumPy and Python, which are restored.
        name: the model's name in tables (default: its class).
        trained: "random" or "centered", for tables.
        normalize: (mean, std), if the model expects normalized pixels.
        preprocess: any other function of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.
        output_type: "logits", "probabilities" or "log-probabilities" (default: determined from a batch of outputs).
            It is used for confidences only; the label is the first largest output. Required for a model that returns
            one number per image, (B, 1) or (B,): the label is 1 if the logit is above 0 or the probability above 0.5.
        select_output: position, key or attribute of the scores (B, K) if the model returns several outputs (default:
            the only tensor (B, K), else "logits").
        class_map, output_names, wordnet_ids: outputs of the classes of the dataset, see `audit`.

    Raises:
        UsageError: if the model does not fit the canvas or the classes, the output of a class is missing or ambiguous,
            or the output type is unknown or contradicts the outputs.
        DataError: if the images have no labels, or the split has no images.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", license="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(56 * 56, 2))
        >>> evaluate(model, data).accuracy["centered"]
        0.5
    """
    data.require_labels("evaluation")
    placement = placement or default_placement(data.shape)
    images = data.split_images(split, validation)
    name = name or model_name(model)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(data.shape[0], *placement.canvas),
                     select_output=select_output, output_type=output_type)
    device, _ = device_and_dtype(prepared)
    offsets = placement.sample(torch.arange(len(images)), seed=seed)
    task = (progress or SilentProgress()).task(f"evaluate {name} ({split})", 2 * len(images))
    try:
        with seeded([device], seed):
            outputs = Outputs(count=output_count(prepared, images, placement), names=output_names,
                              wordnet_ids=wordnet_ids, model=name)
            data = with_output_labels(data, outputs, class_map)
            images = data.split_images(split, validation)
            kind, tolerance = from_first(lambda: _output_type(prepared, images, offsets, placement, output_type))
            random = predict(prepared, images, offsets, placement, output_type=kind, task=task)
            middle = placement.centered(len(images))
            centered = predict(prepared, images, middle, placement, output_type=kind, task=task)
    finally:
        task.close()
    return _record(data, images, random, centered, offsets, placement, tolerance, model=name, split=split, seed=seed,
                   trained=trained, output_type=kind)


def _output_type(model: nn.Module, images: ImageSet, offsets: torch.Tensor, placement: Placement,
                 output_type: str | None) -> tuple[OutputType, float]:
    """Return the type of the model's outputs and their rounding tolerance."""
    first = torch.arange(min(INSPECTED, len(images)))
    device, dtype = device_and_dtype(model)
    with evaluating(model):
        outputs = placed_outputs(model, images.gather(first).to(device), offsets[first].to(device), placement)
    return resolve_output_type(output_type, outputs), rounding_tolerance(as_floats(outputs), dtype)


def _record(data: Dataset, images: ImageSet, random: Predictions, centered: Predictions, offsets: torch.Tensor,
            placement: Placement, tolerance: float, **fields: Any) -> Evaluation:
    labels, classes, count = images.labels, data.classes, len(images)
    correct = {"random": random.correct(labels), "centered": centered.correct(labels)}
    shown = torch.arange(min(GALLERY, count))
    cells = cell_examples(labels, random.classes, classes, images.shape)
    hits, nonfinite = int(correct["centered"].sum()), int((random.classes < 0).sum())
    ties: dict[str, Any] = random.ties(tolerance)
    notes = [*class_notes(data), *low_accuracy_notes(hits / count, wilson_interval(hits, count), classes),
             *fill_notes(placement, data.shape[0]), *nonfinite_notes(nonfinite, count, "images"),
             *tie_notes(**ties, count=count, tolerance=tolerance), *few_images_notes(count),
             *one_class_notes(random.classes.numpy(), labels.numpy(), data.class_names)]
    return Evaluation(
        dataset=data.name, synthetic=data.synthetic, preparation=data.preparation,
        image_names=list(image_names(images) or ()), images=count, **fields, **ties,
        placement=placement.to_dict(), class_names=list(data.class_names),
        accuracy={key: values.double().mean().item() for key, values in correct.items()},
        top5_accuracy={key: found.top5.double().mean().item() for key, found in
                       (("random", random), ("centered", centered)) if found.top5 is not None},
        per_class={key: class_accuracies(labels, values, classes) for key, values in correct.items()},
        nonfinite=nonfinite, notes=notes, labels=labels.numpy(), predictions=random.classes.numpy(),
        confidence=random.confidence.numpy(), offsets=offsets.numpy(), predictions_centered=centered.classes.numpy(),
        confusion=confusion_counts(labels, random.classes, classes).numpy(),
        confusion_centered=confusion_counts(labels, centered.classes, classes).numpy(), gallery_index=shown.numpy(),
        gallery_canvases=placement.place(images.gather(shown).cpu(), offsets[shown]).numpy(),
        cell_index=cells.numpy(), cell_images=images.gather(cells).cpu().numpy())


def cell_examples(labels: torch.Tensor, predictions: torch.Tensor, classes: int, shape: tuple[int, int, int],
                  most: int = CELLS) -> torch.Tensor:
    """Return the indices of up to four images for each cell (true, predicted) of the confusion matrix: the first ones.

    If the limits do not allow all of them, incorrect predictions come before correct ones, and the first image of
    each cell before the second. Images with a non-finite prediction belong to no cell.

    Args:
        labels: int64 (N,), true classes.
        predictions: int64 (N,), -1 if non-finite.
        classes: K.
        shape: (C, h, w) of the images.

    Returns:
        int64 (M,), ascending.

    Example:
        >>> labels, predictions = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, -1])
        >>> cell_examples(labels, predictions, 2, (1, 28, 28))
        tensor([0, 1, 2, 3])
        >>> cell_examples(labels, predictions, 2, (1, 28, 28), most=2)
        tensor([0, 2])
    """
    channels, height, width = shape
    finite = (predictions >= 0).nonzero()[:, 0]
    cells = labels[finite] * classes + predictions[finite]
    order = cells.argsort(stable=True)
    counts = torch.bincount(cells, minlength=classes * classes)
    rank = torch.arange(len(order)) - (counts.cumsum(0) - counts)[cells[order]]  # 0 for the first image of a cell
    index = finite[order]
    index, rank = index[rank < CELL], rank[rank < CELL]
    correct = (labels[index] == predictions[index]).long()
    priority = (correct * CELL + rank).argsort(stable=True)
    return index[priority[:min(most, CELL_BYTES // (channels * height * width))]].sort().values
