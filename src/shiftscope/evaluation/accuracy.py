"""Accuracy at random placements and centred, by class, with confusions and a gallery."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from shiftscope.data.base import Dataset, ImageSet
from shiftscope.distributed import together
from shiftscope.errors import unknown
from shiftscope.evaluation.examples import examples
from shiftscope.evaluation.predictions import Predictions, predict
from shiftscope.metrics import class_shares, confusion_counts
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import check_model, home
from shiftscope.modules import Classifier, model_name, says_model_errors
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Evaluation

GALLERY = 40
"""Images kept for the gallery of classified images."""

Split = Literal["test", "train", "validation"]


@together("progress")
@says_model_errors
def evaluate(model: Classifier, data: Dataset, *, placement: Placement | None = None, split: Split = "test",
             validation: int = 5000, seed: int = 0, name: str | None = None, trained: str = "unknown",
             normalize: Normalization | None = None, preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
             progress: Progress | None = None) -> Evaluation:
    """Measure a model at one seeded random placement an image, and with every image centred.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns (B, K); any nn.Module, put into eval mode meanwhile, or any
            function.
        data: the dataset.
        placement: default: a canvas of 56 x 56, or twice the image where that is larger.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split that was cut off in training.
        seed: fixes the random placements.
        name: the model's name in tables (its class unless given).
        trained: "moved" or "centred", for tables.
        normalize: (mean, deviation), for a foreign model that wants normalised pixels.
        preprocess: any other preparation of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.

    Raises:
        UsageError: the model does not fit the pictures or the classes.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", licence="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(56 * 56, 2))
        >>> evaluate(model, data).accuracy["centred"]
        0.5
    """
    placement = placement or default_placement(data)
    images = split_images(data, split, validation)
    name = name or model_name(model)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(data.shape[0], *placement.canvas))
    device, _ = home(prepared)
    check_model(prepared, images.gather(torch.arange(min(2, len(images)))).to(device), placement, data.classes)
    offsets = placement.sample(torch.arange(len(images)), seed=seed)
    task = (progress or SilentProgress()).task(f"evaluate {name} ({split})", 2 * len(images))
    try:
        moved = predict(prepared, images, offsets, placement, task=task)
        centred = predict(prepared, images, placement.centred(len(images)), placement, task=task)
    finally:
        task.close()
    shown = torch.arange(min(GALLERY, len(images)))
    return _record(data, images, moved, centred, offsets, shown, placement, name, split, seed, trained)


def default_placement(data: Dataset) -> Placement:
    """Return mode canvas on 56 x 56, or on twice the image's size where that is larger."""
    _, height, width = data.shape
    return Placement(image=(height, width), canvas=(max(56, 2 * height), max(56, 2 * width)))


def split_images(data: Dataset, split: str, validation: int) -> ImageSet:
    """Return the images of a split by its name."""
    if split == "test":
        return data.test
    rest, held_out = data.split(validation)
    chosen = {"train": rest, "validation": held_out}.get(split)
    if chosen is None:
        raise unknown("split", split, ["test", "train", "validation"])
    return chosen


def _record(data: Dataset, images: ImageSet, moved: Predictions, centred: Predictions, offsets: torch.Tensor,
            shown: torch.Tensor, placement: Placement, name: str, split: str, seed: int, trained: str) -> Evaluation:
    labels, classes = images.labels, data.classes
    right = {"random": moved.right(labels), "centred": centred.right(labels)}
    accuracy = {which: hits.double().mean().item() for which, hits in right.items()}
    canvases = placement.place(images.gather(shown).cpu(), offsets[shown])
    behind = examples(labels, moved.classes, classes, images.shape)
    return Evaluation(
        model=name, dataset=data.name, drawn=data.drawn, split=split, trained=trained, images=len(images), seed=seed,
        placement=placement.to_dict(), class_names=list(data.class_names), accuracy=accuracy,
        per_class={which: class_shares(labels, hits, classes) for which, hits in right.items()},
        not_finite=int((moved.classes < 0).sum()), notes=_warnings(accuracy["centred"], moved, classes),
        labels=labels.numpy(), predictions=moved.classes.numpy(), confidence=moved.confidence.numpy(),
        offsets=offsets.numpy(), predictions_centred=centred.classes.numpy(),
        confusion=confusion_counts(labels, moved.classes, classes).numpy(),
        confusion_centred=confusion_counts(labels, centred.classes, classes).numpy(),
        gallery_index=shown.numpy(), gallery_canvases=canvases.numpy(),
        cell_index=behind.numpy(), cell_images=images.gather(behind).cpu().numpy())


def _warnings(centred: float, moved: Predictions, classes: int) -> list[str]:
    """Say what makes the figures doubtful."""
    notes = []
    if centred < 1.5 / classes:
        notes.append(f"centred accuracy is {100 * centred:.1f} %, near chance ({100 / classes:.1f} %): if the model "
                     "was trained elsewhere, check that it wants pixels in [0, 1] and was given its own normalisation")
    lost = int((moved.classes < 0).sum())
    if lost:
        notes.append(f"{lost} images gave outputs that are not finite (NaN or infinity); they count as wrong")
    return notes
