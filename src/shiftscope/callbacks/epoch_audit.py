"""An audit of a model that is being trained, on a fixed subset of images, and its metrics for loggers."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any
from weakref import WeakSet

import torch
import torch.distributed as dist

from shiftscope import hashing
from shiftscope.auditing import audit
from shiftscope.data.base import Dataset, Split, Subset
from shiftscope.distributed.group import Group, group, use_group
from shiftscope.errors import Interrupted, ShiftscopeError, UsageError, require
from shiftscope.hashing import Stream
from shiftscope.modules import Classifier, as_module
from shiftscope.placement import Placement, default_placement
from shiftscope.results import Audit
from shiftscope.settings import VALIDATION_IMAGES

IMAGES = 100
"""Default number of images of an audit after an epoch."""

EVALUATIONS = 10_000
"""Default of the largest number of canvases that the model itself is evaluated on."""

METRICS = ("mean_accuracy", "worst_case_accuracy", "consistency")

_audit_alone = audit.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]  # the other processes do not take part
_brute: WeakSet[Any] = WeakSet()
"""Models that the dense engine does not support, so that it is not tried again after each epoch."""


def log_audit(model: Classifier, data: Dataset, *, split: Split, to: Any = (), epoch: int = 0, images: int = IMAGES,
              evaluations: int = EVALUATIONS, placement: Placement | None = None, validation: int = VALIDATION_IMAGES,
              prefix: str = "audit", seed: int = 0, **options: Any) -> Audit | None:
    """Audit a model on some images and log mean accuracy, worst-case accuracy and consistency; call it in each epoch.

    The same images and placements are used in every epoch. All placements are computed if the dense engine or the proof
    of invariance supports the model, or if `images` times the number of placements is at most `evaluations`; else a
    fixed random sample of the placements, and `sampled` of the result is True. A sample can only miss placements, so
    its worst-case accuracy is too high rather than too low.

    Cost: at most `evaluations` canvases through the model without gradients, and at most 1,500 for checks and trials;
    with the dense engine usually far less. The model is analyzed again for each audit, which takes about a second
    besides. For the convnet of the course, 100 images at all 841 placements take about 2 s of one CPU core. The time is
    logged as PREFIX/seconds.

    All state is restored: train or eval mode of each submodule, weights, buffers, gradients, and the random
    generators, so that training continues as without the audit. If several processes train the model, the first one
    computes and logs, and the others return None immediately; wrappers such as `DistributedDataParallel` are
    removed.

    Args:
        model: as for `shiftscope.audit`; it is trained elsewhere.
        data: the dataset.
        split: "validation": the images that `shiftscope.train` holds out; "test": for your own training loop, of a
            dataset whose test images are your validation images; "train".
        to: where to log: a `SummaryWriter` of TensorBoard, a run of Weights & Biases or the module `wandb` after
            `wandb.init()`, a function (metrics, epoch), or a list of these; by default nowhere.
        epoch: number of the epoch, at least 0.
        images: number of images, a fixed random subset of the split.
        evaluations: see above; at least the number of images.
        placement: as for `shiftscope.audit`.
        validation: size of the validation split of `shiftscope.train`.
        prefix: names are PREFIX/mean_accuracy, PREFIX/worst_case_accuracy, PREFIX/consistency and PREFIX/seconds.
        seed: seed of the subset and of a sample of placements.
        options: further arguments of `shiftscope.audit`, for instance `normalize`, `preprocess`, `output_type`.

    Returns:
        The audit, of the subset; None in processes other than the first.

    Raises:
        UsageError: if an argument is invalid; `to` is checked before the audit.
        KeyboardInterrupt: if Ctrl-C was pressed during the audit, so that the training loop ends as well.

    Example:
        >>> from torch import nn
        >>> from shiftscope.data import load_dataset
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(30 * 30, 10))
        >>> place = Placement(image=(28, 28), canvas=(30, 30))
        >>> logged = []
        >>> found = log_audit(model, load_dataset("garments").limit(40), split="test", images=20, placement=place,
        ...                   epoch=1, to=lambda metrics, epoch: logged.append((sorted(metrics), epoch)))
        >>> logged
        [(['audit/consistency', 'audit/mean_accuracy', 'audit/seconds', 'audit/worst_case_accuracy'], 1)]
        >>> found.images, found.placements, found.sampled
        (20, 9, False)
    """
    loggers = [logger(target) for target in (to if isinstance(to, list | tuple) else [to])]
    _check(epoch=epoch, images=images, evaluations=evaluations)
    require(evaluations >= images, "evaluations", evaluations, f"at least the number of images, {images}")
    if not is_first_process():
        return None
    few = subset(data, split, images, validation=validation, seed=seed)
    place = placement or default_placement(data.shape)
    result = replace(bounded_audit(model, few, place, evaluations, seed=seed, **options), split=split)
    for log in loggers:
        log(metrics_of(result, prefix), epoch, prefix)
    return result


def is_first_process() -> bool:
    """Return True in the process that audits and logs: the first of a group, or of `torch.distributed`."""
    if group().size > 1:
        return group().first
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def _check(**values: Any) -> None:
    least = {"epoch": 0}
    for name, value in values.items():
        ok = isinstance(value, int) and not isinstance(value, bool) and value >= least.get(name, 1)
        require(ok, name, value, f"an integer of at least {least.get(name, 1)}")


def subset(data: Dataset, split: Split, count: int, *, validation: int, seed: int) -> Dataset:
    """Return a dataset whose test images are a fixed random subset of a split, in their order.

    Raises:
        UsageError: if the split is unknown, or the training set is too small for a validation split.
    """
    data.require_labels("the audit during training")
    found = data.split_images(split, validation)
    order = hashing.permutation(hashing.stream(Stream.EPOCH_AUDIT, seed), len(found))
    chosen = Subset(found, order[:count].sort().values)
    return Dataset(name=data.name, class_names=data.class_names, train=chosen, test=chosen, source=data.source,
                   license=data.license, synthetic=data.synthetic)


def bounded_audit(model: Classifier, data: Dataset, placement: Placement, evaluations: int, **options: Any) -> Audit:
    """Audit the test images; if that takes more than `evaluations` canvases and the dense engine does not support the
    model, at a sample of the placements.
    """
    many = len(data.test) * placement.count > evaluations and options.get("sample") is None
    module, asked = as_module(model), options.pop("engine", "auto")
    if many and (asked == "dense" or (asked == "auto" and module not in _brute)):
        try:
            return _finished(model, data, placement, {**options, "engine": "dense"})
        except UsageError:
            raise
        except Interrupted:
            raise KeyboardInterrupt from None
        except ShiftscopeError:  # the dense engine does not support the model
            if asked == "dense":
                raise
            _brute.add(module)
    sampled = {"engine": "brute", "sample": max(1, evaluations // len(data.test))} if many else {"engine": asked}
    return _finished(model, data, placement, options | sampled)


def _finished(model: Classifier, data: Dataset, placement: Placement, options: dict[str, Any]) -> Audit:
    """Audit in this process alone; Ctrl-C ends the training as well."""
    with use_group(Group()), torch.inference_mode(mode=False):
        result = _audit_alone(model, data, placement=placement, **options)
    if result.partial and options.get("stop") is None:
        raise KeyboardInterrupt
    return result


def metrics_of(result: Audit, prefix: str) -> dict[str, float]:
    """Return the logged metrics by name, without undefined ones."""
    values = {name: getattr(result, name) for name in (*METRICS, "seconds")}
    return {f"{prefix}/{name}": float(value) for name, value in values.items()
            if value is not None and math.isfinite(value)}


# ---------------------------------------------------------------------- loggers

Log = Callable[[dict[str, float], int, str], None]
"""Function of metrics, epoch and prefix."""


def logger(target: Any) -> Log:
    """Return the function that logs to `target`.

    Raises:
        UsageError: if it is no logger, or `wandb` has no active run.

    Example:
        >>> logger(print)({"audit/consistency": 0.5}, 1, "audit")
        {'audit/consistency': 0.5} 1
    """
    if isinstance(target, ModuleType) and getattr(target, "run", None) is None:
        raise UsageError(f"to must be a run of Weights & Biases, got the module {target.__name__!r} without an active "
                         "run; call wandb.init() first")
    if hasattr(target, "add_scalar"):
        return lambda metrics, epoch, prefix: _to_tensorboard(target, metrics, epoch)
    if hasattr(target, "log") and hasattr(target, "define_metric"):
        return lambda metrics, epoch, prefix: _to_wandb(target, metrics, epoch, prefix)
    function: Any = target
    require(callable(function), "to", target,
            "a SummaryWriter, a run of Weights & Biases, a function (metrics, epoch), or a list of these")
    return lambda metrics, epoch, prefix: function(metrics, epoch)


def _to_tensorboard(writer: Any, metrics: dict[str, float], epoch: int) -> None:
    for name, value in metrics.items():
        writer.add_scalar(name, value, epoch)


def _to_wandb(run: Any, metrics: dict[str, float], epoch: int, prefix: str) -> None:
    """Log with the epoch as axis: steps of a run only increase, and other code may log once per batch."""
    run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/epoch")
    run.log({**metrics, f"{prefix}/epoch": epoch})


