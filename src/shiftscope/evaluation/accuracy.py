"""Accuracy at random placements and centered, by class, with confusions and a gallery."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from shiftscope.data.base import Dataset, ImageSet, Split
from shiftscope.distributed import from_first, together
from shiftscope.evaluation import rounding
from shiftscope.evaluation.examples import examples
from shiftscope.evaluation.notes import doubtful, few_images, one_class, tie_notes
from shiftscope.evaluation.predictions import Predictions, predict
from shiftscope.generators import seeded
from shiftscope.metrics import class_shares, confusion_counts, wilson
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import check_model, device_and_dtype, evaluating, placed_outputs
from shiftscope.modules import Classifier, model_name, says_model_errors
from shiftscope.outputs import OutputType, as_floats, resolve_output_type
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Evaluation

GALLERY = 40
"""Images kept for the gallery of classified images."""

INSPECTED = 32
"""Images that show what a model's outputs are."""



@together("progress")
@says_model_errors
def evaluate(model: Classifier, data: Dataset, *, placement: Placement | None = None, split: Split = "test",
             validation: int = 5000, seed: int = 0, name: str | None = None, trained: str = "unknown",
             normalize: Normalization | None = None, preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
             output_type: OutputType | None = None, progress: Progress | None = None) -> Evaluation:
    """Measure a model at one seeded random placement an image, and with every image centered.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns (B, K); any nn.Module, put into eval mode meanwhile, or any
            function.
        data: the dataset.
        placement: default: a canvas of 56 x 56, or twice the image where that is larger.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split that was cut off in training.
        seed: fixes the random placements, and what a model draws at random from the generators of torch, NumPy and
            Python, which are left as they were.
        name: the model's name in tables (its class unless given).
        trained: "random" or "centered", for tables.
        normalize: (mean, std), for a foreign model that wants normalized pixels.
        preprocess: any other preparation of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.
        output_type: what the model returns: "logits", "probabilities" or "log-probabilities"; determined on a batch of
            images unless given. It serves confidences; a label is the first largest output, whatever it is.

    Raises:
        UsageError: the model does not fit the pictures or the classes; an unknown output type, or one that its outputs
            contradict.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", license="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(56 * 56, 2))
        >>> evaluate(model, data).accuracy["centered"]
        0.5
    """
    placement = placement or default_placement(data.shape)
    images = data.split_images(split, validation)
    name = name or model_name(model)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(data.shape[0], *placement.canvas))
    device, _ = device_and_dtype(prepared)
    offsets = placement.sample(torch.arange(len(images)), seed=seed)
    task = (progress or SilentProgress()).task(f"evaluate {name} ({split})", 2 * len(images))
    try:
        with seeded([device], seed):
            check_model(prepared, images.gather(torch.arange(min(2, len(images)))).to(device), placement, data.classes)
            kind, tolerance = from_first(lambda: _inspect(prepared, images, offsets, placement, output_type))
            moved = predict(prepared, images, offsets, placement, output_type=kind, task=task)
            centered = predict(prepared, images, placement.centered(len(images)), placement, output_type=kind, task=task)
    finally:
        task.close()
    shown = torch.arange(min(GALLERY, len(images)))
    return _record(data, images, moved, centered, offsets, shown, placement, tolerance, model=name, split=split,
                   seed=seed, trained=trained, output_type=kind)


def _inspect(model: nn.Module, images: ImageSet, offsets: torch.Tensor, placement: Placement,
             given: str | None) -> tuple[OutputType, float]:
    """Return what the model's outputs are, and the difference of two outputs that rounding explains."""
    first = torch.arange(min(INSPECTED, len(images)))
    device, dtype = device_and_dtype(model)
    with evaluating(model):
        outputs = placed_outputs(model, images.gather(first).to(device), offsets[first].to(device), placement)
    return resolve_output_type(given, outputs), rounding.tolerance(as_floats(outputs), dtype)


def _record(data: Dataset, images: ImageSet, moved: Predictions, centered: Predictions, offsets: torch.Tensor,
            shown: torch.Tensor, placement: Placement, tolerance: float, **described: Any) -> Evaluation:
    labels, classes = images.labels, data.classes
    described |= moved.ties(tolerance)
    right = {"random": moved.right(labels), "centered": centered.right(labels)}
    accuracy = {which: hits.double().mean().item() for which, hits in right.items()}
    canvases = placement.place(images.gather(shown).cpu(), offsets[shown])
    behind = examples(labels, moved.classes, classes, images.shape)
    return Evaluation(
        dataset=data.name, synthetic=data.synthetic, images=len(images), **described,
        placement=placement.to_dict(), class_names=list(data.class_names), accuracy=accuracy,
        per_class={which: class_shares(labels, hits, classes) for which, hits in right.items()},
        nonfinite=int((moved.classes < 0).sum()), notes=_warnings(right["centered"], moved, labels, data, tolerance),
        labels=labels.numpy(), predictions=moved.classes.numpy(), confidence=moved.confidence.numpy(),
        offsets=offsets.numpy(), predictions_centered=centered.classes.numpy(),
        confusion=confusion_counts(labels, moved.classes, classes).numpy(),
        confusion_centered=confusion_counts(labels, centered.classes, classes).numpy(),
        gallery_index=shown.numpy(), gallery_canvases=canvases.numpy(),
        cell_index=behind.numpy(), cell_images=images.gather(behind).cpu().numpy())


def _warnings(right: torch.Tensor, moved: Predictions, labels: torch.Tensor, data: Dataset,
              tolerance: float) -> list[str]:
    """Say what makes the figures doubtful."""
    count, hits, lost = len(labels), int(right.sum()), int((moved.classes < 0).sum())
    found = doubtful(hits / count, wilson(hits, count), data.classes)
    if lost:
        found.append(f"{lost} images gave outputs that are not finite (NaN, or an infinite maximum); they count as "
                     "wrong")
    return [*found, *tie_notes(**moved.ties(tolerance), count=count, tolerance=tolerance), *few_images(count),
            *one_class(moved.classes.numpy(), labels.numpy(), data.class_names)]
