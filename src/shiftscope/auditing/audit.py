"""The audit: predictions of a model for every image at every placement, and the figures that follow from them."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.engines import (
    AuditInputs,
    EngineChoice,
    brute_force,
    choose_engine,
    choose_in_group,
    repeated_choice,
)
from shiftscope.auditing.estimate import announce, audit_time, within_budget
from shiftscope.auditing.model_checks import ModelChecks, check_sample, mode_dependent_layers, rounding_notes
from shiftscope.auditing.sampled_statistics import sampled_figures_of
from shiftscope.auditing.self_check import difference_message, passed
from shiftscope.auditing.statistics import figures, maps, top5_figures
from shiftscope.auditing.stored import class_outputs, engine_settings, images_hash, model_hash, settings_of
from shiftscope.auditing.sweep import Stop, Sweep, stop_requested
from shiftscope.data.base import Dataset, Split, Subset, image_names
from shiftscope.data.class_map import ClassMap, Outputs, class_notes, with_output_labels
from shiftscope.data.images import from_images
from shiftscope.devices import tf32
from shiftscope.distributed import from_first, group, together
from shiftscope.errors import ShiftscopeError, UsageError, require, unknown
from shiftscope.evaluation.brute import MEMORY
from shiftscope.evaluation.notes import (
    few_images_notes,
    fill_notes,
    low_accuracy_notes,
    nonfinite_notes,
    one_class_notes,
    same_class_notes,
    tie_notes,
)
from shiftscope.evaluation.predictions import output_count
from shiftscope.generators import seeded
from shiftscope.models.adapt import Normalization, adapt, title_of
from shiftscope.models.forward import device_and_dtype
from shiftscope.models.select_output import OutputKey
from shiftscope.modules import Classifier, in_train_mode, reports_model_errors
from shiftscope.outputs import OutputType, check_output_type
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.protocols import Protocol, protocol_named
from shiftscope.results import Audit
from shiftscope.results.audit import SelfCheck
from shiftscope.runs.unfinished import UnfinishedAudit
from shiftscope.settings import VALIDATION_IMAGES

ENGINES = ("auto", "dense", "brute")


@together("progress", "stop", "store")
@reports_model_errors
def audit(model: Classifier, data: Any, *, placement: Placement | None = None, protocol: str | None = None,
          engine: str = "auto", split: Split = "test", validation: int = VALIDATION_IMAGES, limit: int | None = None,
          sample: int | None = None, budget: float | None = None, memory: int = MEMORY,
          normalize: Normalization | None = None, preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
          name: str | None = None, trained: str = "unknown", expected: float | None = None,
          output_type: OutputType | None = None, select_output: OutputKey | None = None,
          class_map: ClassMap | None = None, output_names: Sequence[str] | None = None,
          wordnet_ids: Sequence[str] | None = None, seed: int = 0, progress: Progress | None = None,
          stop: Stop | None = None, store: UnfinishedAudit | None = None) -> Audit:
    """Compute a model's predictions for every image at every placement.

    The model runs in eval mode; its mode is restored. A random sample of images and placements is computed again with
    the plain model, before and during the audit. An engine that differs by more than rounding is replaced by brute
    force.

    Args:
        model: any nn.Module or function that takes pixels in [0, 1], (B, C, H, W), and returns (B, K); any device.
        data: a dataset, labeled or not, or images as in `shiftscope.data.from_images`: an array or any iterable.
            Without labels all figures of accuracy are NaN. A dataset may have fewer classes than the model has
            outputs, see `class_map`.
        placement: default: a canvas of 56 x 56, or twice the image size if that is larger.
        protocol: name of a published evaluation instead of `placement`, see `shiftscope.protocols`.
        engine: "dense": placements share operations, if the model's graph allows it; "brute": the model itself at each
            placement; "auto": dense if it is exact and faster, else brute.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split that was used in training.
        limit: use only the first images.
        sample: number of random placements, the middle one among them; the figures are then not exact. Default: all
            placements, and 1,000 for brute force if there are more than 10,000.
        budget: seconds; if the audit would take longer, as many random placements as fit. Not with `sample`.
        memory: bytes for the canvases, activations and outputs of brute force.
        normalize: (mean, std), if the model expects normalized pixels.
        preprocess: any other function of the pixels, (B, C, H, W) in [0, 1], instead of `normalize`.
        name: the model's name in tables (default: its name in the registry, or its class).
        trained: "random" or "centered", for tables.
        expected: known accuracy on centered images, from 0 to 1; a note reports if the measured one is far below.
        output_type: "logits", "probabilities" or "log-probabilities" (default: determined from a batch of outputs).
            It is used for confidences only; the label is the first largest output. Required for a model that returns
            one number per image, (B, 1) or (B,): the label is 1 if the logit is above 0 or the probability above 0.5.
        select_output: position, key or attribute of the scores (B, K) if the model returns several outputs (default:
            the only tensor (B, K), else "logits").
        class_map: output index, name or WordNet id of each class of the dataset by its name, if the model has more
            outputs than there are classes, or another order. Missing classes are matched by WordNet ids (n01440764),
            names, or numbers, which are indices. Predictions are always indices of outputs.
        output_names: name of each of the K outputs of the model.
        wordnet_ids: WordNet id of each output.
        seed: seed of the sampled placements, of the self-check, and of the generators of torch, NumPy and Python,
            which are restored.
        stop: a flag or a function, read between batches; a true value stops the audit.
        store: stores finished images, and continues after those that it holds, with the same engine and batches.

    Returns:
        The figures, with the prediction of every image at every placement. After `stop` or Ctrl-C: those of the images
        computed so far, marked as partial.

    Raises:
        UsageError: if the engine, split or output type is unknown, the model does not fit the canvas or the classes,
            the output of a class is missing or ambiguous, the outputs contradict `output_type`, or `store` holds
            another audit.
        DataError: if images are invalid, or the split has none.
        ShiftscopeError: if "dense" is requested and not possible (the message names the layer), or if a single
            placement does not fit into memory.
        Interrupted: if the audit was stopped before the first images were done.

    Example:
        >>> from torch import nn
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1] * 3))
        >>> data = Dataset(name="black", class_names=("a", "b"), train=images, test=images, source="-", license="-")
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 7, 2))
        >>> result = audit(model, data, placement=Placement(image=(4, 4), canvas=(6, 7)))
        >>> result.placements, result.mean_accuracy, result.worst_case_accuracy, result.consistency
        (12, 0.5, 0.5, 1.0)

    References:
        Engstrom et al., "Exploring the landscape of spatial robustness", ICML 2019, for the worst case over a grid of
        placements. Zhang, "Making convolutional networks shift-invariant again", ICML 2019, for consistency, there of
        one random pair. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    begun = time.perf_counter()
    _check_arguments(engine, limit, sample, expected, output_type)
    _check_budget(budget, sample, engine)
    data = as_dataset(data, expected)
    placement, title = _placement(placement, protocol, data), name or title_of(model)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(data.shape[0], *placement.canvas),
                     select_output=select_output, output_type=output_type)
    mode_layers = mode_dependent_layers(prepared) if in_train_mode(prepared) else []
    device, _ = device_and_dtype(prepared)
    with tf32(allowed=False), seeded([device], seed):
        count = output_count(prepared, data.split_images(split, validation), placement)
        outputs = Outputs(count=count, names=output_names, wordnet_ids=wordnet_ids, model=title)
        data = with_output_labels(data, outputs, class_map)
        inputs = audit_inputs(prepared, data, placement, split, validation, limit, seed, memory, sample)
        checks = from_first(partial(check_sample, inputs.check(), output_type))
        blocks = _stored_blocks(store, inputs, data.class_names, split=split, engine=engine, budget=budget,
                                output_type=checks.output_type)
        notes, choice = list(checks.doubts), _choose(inputs, engine, checks, blocks)
        if budget is not None and not from_first(lambda: bool(blocks)):
            choice = _within_budget(choice, data.classes, budget, begun)
        while True:
            begun += from_first(partial(announce, choice, data.classes, title, progress or SilentProgress(),
                                        partial(stop_requested, stop)))
            sweep = Sweep(choice, data.classes, checks.tolerance, output_type=checks.output_type)
            sweep.restore(blocks)
            sweep.run(progress or SilentProgress(), f"audit {title} ({split}), {choice.engine.name}, "
                      f"{len(choice.inputs.offsets)} placements", stop, store)
            check = from_first(sweep.check.result)
            if choice.engine.name == "brute" or passed(check):
                break
            if engine == "dense" or sweep.interrupted:
                raise ShiftscopeError(f"{difference_message(check)}; use engine 'brute'")
            notes.append(f"{difference_message(check)}: all placements were computed again by brute force")
            choice = brute_force(inputs, f"brute force, because {difference_message(check)}", checks.doubts)
            blocks = _discarded(store)
        if not checks.doubts and not sweep.interrupted:
            notes += from_first(partial(rounding_notes, sweep.check, check["max_abs_logit_difference"],
                                        check["tolerance"], sweep.predictions.classes))
    return _record(sweep, choice, check, data, checks, notes=notes, expected=expected, mode_layers=mode_layers,
                   begun=begun, model=title, split=split, trained=trained, protocol=protocol or "")


def _choose(inputs: AuditInputs, engine: str, checks: ModelChecks, blocks: list[dict[str, np.ndarray]]) -> EngineChoice:
    """Return the engine that computed the stored blocks of images, or choose one."""
    known = from_first(lambda: engine_settings(blocks[-1]) if blocks else None)
    if known is not None:
        return repeated_choice(inputs, known)
    choose = choose_engine if group().size == 1 else choose_in_group
    return choose(inputs, engine, checks.doubts, checks.seconds)


def _within_budget(choice: EngineChoice, classes: int, budget: float, begun: float) -> EngineChoice:
    """Return the choice of the first process of the group for a time budget."""
    found: list[EngineChoice] = []

    def choose() -> dict[str, Any]:
        found.append(within_budget(choice, classes, budget, time.perf_counter() - begun))
        return found[0].settings()

    settings = from_first(choose)
    return found[0] if found else repeated_choice(choice.inputs, settings)


def _check_budget(budget: float | None, sample: int | None, engine: str) -> None:
    if budget is None:
        return
    require(0 < budget < float("inf"), "budget", budget, "a number of seconds above 0")
    require(sample is None, "budget", budget, "not given together with sample: it chooses the number of placements")
    require(engine != "dense", "budget", budget, "not given together with the engine 'dense': it cannot sample")


def as_dataset(data: Any, expected: float | None = None) -> Dataset:
    """Return images of any kind as a dataset; with labels, if an accuracy is expected."""
    data = data if isinstance(data, Dataset) else from_images(data)
    if expected is not None:
        data.require_labels("the check of an expected accuracy")
    return data


def _placement(placement: Placement | None, protocol: str | None, data: Dataset) -> Placement:
    """Return the placement that is given, that of the protocol, or the default one."""
    if protocol is None:
        return placement or default_placement(data.shape)
    found = protocol_placement(protocol_named(protocol), data)
    if placement is not None and placement.geometry != found.geometry:
        raise UsageError(f"placement contradicts the protocol {protocol}, which sets it: leave out one of the two")
    return found


def protocol_placement(protocol: Protocol, data: Dataset) -> Placement:
    """Return the placement of a published evaluation for the images of a dataset.

    Raises:
        UsageError: if the protocol is not made for these images.
    """
    channels, height, width = data.shape
    return Placement.of(protocol.geometry((height, width), data.prepared if data.preparation else None), channels)


def _stored_blocks(store: UnfinishedAudit | None, inputs: AuditInputs, class_names: Sequence[str],
                   **settings: Any) -> list[dict[str, np.ndarray]]:
    """Return the blocks of images that an earlier command stored for this audit."""
    if store is None:
        return []
    settings |= {"class map": class_outputs(inputs.images, class_names)}
    return store.identify(model_hash(inputs.model), images_hash(inputs.images), settings_of(inputs, **settings))


def _discarded(store: UnfinishedAudit | None) -> list[dict[str, np.ndarray]]:
    """Remove all stored images; return those that remain, none."""
    if store is not None:
        store.restart()
    return []


def audit_inputs(model: nn.Module, data: Dataset, placement: Placement, split: Split, validation: int,
                 limit: int | None, seed: int, memory: int = MEMORY, sample: int | None = None) -> AuditInputs:
    """Return the images of a split at all placements, or at a sample; the arguments are those of `audit`."""
    images = data.split_images(split, validation)
    images = images if limit is None or limit >= len(images) else Subset(images, torch.arange(limit))
    inputs = AuditInputs(model=model, images=images, placement=placement, offsets=placement.offsets(), sampled=False,
                         seed=seed, memory=memory)
    return inputs if sample is None else inputs.at_sample(sample)


@reports_model_errors
def audit_seconds(model: Classifier, data: Dataset, *, placement: Placement, engine: str = "auto",
                  split: Split = "test", validation: int = VALIDATION_IMAGES, limit: int | None = None,
                  seed: int = 0) -> float:
    """Estimate the time of `audit` in seconds: choose the engine and try it on a few images.

    The audit repeats the choice and the trial, so their time is included. The arguments are those of `audit`.

    Raises:
        UsageError, ShiftscopeError: see `audit`.
    """
    begun = time.perf_counter()
    _check_arguments(engine, limit, None, None, None)
    prepared = adapt(model, shape=(data.shape[0], *placement.canvas))
    inputs = audit_inputs(prepared, data, placement, split, validation, limit, seed)
    device, _ = device_and_dtype(prepared)
    with tf32(allowed=False), seeded([device], seed):
        output_count(prepared, inputs.images, placement, data.classes)
        needed = audit_time(choose_engine(inputs, engine, []), data.classes)
    return time.perf_counter() - begun + needed.total


def _check_arguments(engine: str, limit: int | None, sample: int | None, expected: float | None,
                     output_type: str | None) -> None:
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    for name, value in (("limit", limit), ("sample", sample)):
        require(value is None or value >= 1, name, value, "a whole number of at least 1")
    require(expected is None or 0 <= expected <= 1, "expected", expected, "a number from 0 to 1")
    if output_type is not None:
        check_output_type(output_type)


def _record(sweep: Sweep, choice: EngineChoice, check: SelfCheck, data: Dataset, checks: ModelChecks, *,
            notes: list[str], expected: float | None, mode_layers: list[str], begun: float, **fields: Any) -> Audit:
    inputs, count, kept = choice.inputs, sweep.count, sweep.predictions
    predictions, labels = kept.classes[:count], inputs.images.labels[:count].numpy()
    offsets = inputs.offsets.numpy()
    rows, columns = (axis.numpy() for axis in inputs.placement.axes)
    results = _figures(inputs, predictions, labels, kept.top5[:count], data.classes)
    results |= maps(predictions, labels, data.classes, offsets, rows, columns, inputs.middle)
    index, logits = sweep.shown.arrays(count)
    ties = {"exact_ties": int(kept.exact_ties[:count].sum()), "ties": int(kept.ties[:count].sum())}
    nonfinite = int((predictions == kept.nonfinite).sum())
    notes = [*notes, *_notes(sweep, choice, mode_layers), *fill_notes(inputs.placement, data.shape[0]),
             *nonfinite_notes(nonfinite, predictions.size, "predictions"),
             *tie_notes(**ties, count=predictions.size, tolerance=checks.tolerance),
             *_label_notes(results, predictions, labels, data, expected), *few_images_notes(count)]
    return Audit(
        dataset=data.name, synthetic=data.synthetic, preparation=data.preparation,
        image_names=list(image_names(inputs.images) or ())[:count],
        class_names=list(data.class_names), images=count, placements=len(offsets), mode=inputs.placement.mode,
        placement=inputs.placement.to_dict(), sampled=inputs.sampled, partial=sweep.interrupted, reason=choice.reason,
        engine="brute" if choice.kind == "brute" else "dense",
        seconds=time.perf_counter() - begun, device=str(device_and_dtype(inputs.model)[0]), nonfinite=nonfinite, **ties,
        output_type=checks.output_type, tie_tolerance=checks.tolerance, self_check=check, notes=notes, rows=rows,
        columns=columns, offsets=offsets, labeled=data.labeled, labels=labels, predictions=predictions,
        worst_offset=offsets[kept.worst[:count]], margins=kept.margins[:count], top_margins=kept.top_margins[:count],
        confidences=kept.confidences[:count], shown_index=index, shown_logits=logits,
        shown_images=inputs.images.gather(torch.from_numpy(index)).cpu().numpy(), **results, **fields)


def _figures(inputs: AuditInputs, predictions: np.ndarray, labels: np.ndarray, top5: np.ndarray,
             classes: int) -> dict[str, Any]:
    """Return the figures with their intervals; of a sample of placements, estimates for all placements."""
    parts = [figures(predictions, labels, classes, inputs.middle), top5_figures(top5)]
    if inputs.sampled:
        parts.append(sampled_figures_of(predictions, labels, classes, inputs.middle, inputs.placement.count, top5))
    intervals = {name: interval for part in parts for name, interval in part["intervals"].items()}
    return {name: value for part in parts for name, value in part.items()} | {"intervals": intervals}


def _label_notes(results: dict[str, Any], predictions: np.ndarray, labels: np.ndarray, data: Dataset,
                 expected: float | None) -> list[str]:
    """Return notes on the classes of the dataset, missing labels and accuracies that may be wrong."""
    if not data.labeled:
        return ["the images have no labels: accuracies are not computed, and a consistent prediction may be incorrect",
                *same_class_notes(predictions, data.class_names)]
    interval = results["intervals"]["middle_accuracy"]
    return [*class_notes(data), *low_accuracy_notes(results["middle_accuracy"], interval, data.classes, expected),
            *one_class_notes(predictions, labels, data.class_names)]


def _notes(sweep: Sweep, choice: EngineChoice, mode_layers: list[str]) -> list[str]:
    """Return notes on a changed mode, an interrupted audit and sampled placements."""
    inputs, notes = choice.inputs, []
    if mode_layers:
        notes.append("the model was in train mode and was audited in eval mode, which changes the results of these "
                     f"layers: {', '.join(mode_layers)}")
    if sweep.interrupted:
        notes.append(f"interrupted: the figures are for the first {sweep.count:,} of {len(inputs.images):,} images")
    if inputs.sampled:
        notes.append(f"{len(inputs.offsets):,} of {inputs.placement.count:,} placements, the middle one and a random "
                     "sample of the others: no figure is exact, and the worst case over all placements can only be "
                     "lower; the intervals hold for all placements")
    return notes
