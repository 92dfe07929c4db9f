"""The callback for Lightning, as `lightning` or `pytorch_lightning`."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from shiftscope.callbacks.epoch_audit import EVALUATIONS, IMAGES, log_audit, metrics_of
from shiftscope.data.base import Dataset, Split
from shiftscope.errors import ShiftscopeError, UsageError, require
from shiftscope.modules import Classifier
from shiftscope.results import Audit

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def _callback_class() -> Any:
    """Return `Callback` of the package that the program uses, else of an installed one, else `object`."""
    for name in sorted(_PACKAGES, key=lambda name: name not in sys.modules):
        try:
            return import_module(name).Callback
        except ImportError:
            continue
    return object


if TYPE_CHECKING:
    _Callback = object
else:
    _Callback = _callback_class()

_SHARDED = ("FSDP", "DeepSpeed", "ModelParallel")
"""In the names of strategies that split a model over processes, so that none of them can evaluate it alone."""


class AuditCallback(_Callback):
    """A callback of Lightning that audits the model after every training epoch with `log_audit`.

    The metrics are logged with `LightningModule.log_dict`, so they appear in every logger of the trainer (TensorBoard,
    Weights & Biases, CSV), and `ModelCheckpoint` and `EarlyStopping` can monitor them, for example
    `monitor="audit/worst_case_accuracy", mode="max"`. Images and placements are the same in each epoch; `log_audit`
    describes them and the cost. A first audit of two images before training raises an error if the arguments do not
    fit the model.

    With several processes (DDP) the first one audits while the others wait, and all of them log the same values.
    Strategies that split the model are refused.

    Args:
        data: the dataset, for instance `shiftscope.from_torch(train_set, val_set)` with `split="test"`.
        split: see `log_audit`. `trainer.fit` does not hold out the images of "validation".
        every_n_epochs: audit after the epochs n, 2n, ...
        get_model: a function that returns the classifier of a LightningModule, if its `forward` is not the classifier,
            for instance `lambda module: module.net`.
        images, evaluations, prefix: see `log_audit`.
        options: further arguments of `log_audit` and `shiftscope.audit`, for instance `placement` and `normalize`.

    Attributes:
        audit: the last audit; None before the first epoch, and in processes other than the first.

    Raises:
        UsageError: if Lightning is not installed or an argument is invalid.

    Example::

        callback = shiftscope.callbacks.AuditCallback(data, split="test", placement=placement)
        L.Trainer(max_epochs=10, callbacks=[callback]).fit(module, train_loader)
        callback.audit.accuracy_map
    """

    def __init__(self, data: Dataset, *, split: Split, every_n_epochs: int = 1,
                 get_model: Callable[[Any], Classifier] | None = None, images: int = IMAGES,
                 evaluations: int = EVALUATIONS, prefix: str = "audit", **options: Any):
        if _Callback is object and not TYPE_CHECKING:
            raise UsageError("AuditCallback needs Lightning, which is not installed; run pip install lightning, or use "
                             "log_audit in your own training loop")
        super().__init__()
        require(isinstance(every_n_epochs, int) and every_n_epochs >= 1, "every_n_epochs", every_n_epochs,
                "an integer of at least 1")
        require(get_model is None or callable(get_model), "get_model", get_model, "a function of the LightningModule")
        self.data, self.every_n_epochs, self.get_model, self.prefix = data, every_n_epochs, get_model, prefix
        self.options: dict[str, Any] = options | {"split": split, "images": images, "evaluations": evaluations}
        self.audit: Audit | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Check the strategy, and audit two images."""
        strategy = type(trainer.strategy).__name__
        if any(name in strategy for name in _SHARDED):
            raise UsageError(f"AuditCallback cannot be used with {strategy}, which splits the model over processes; "
                             "use the strategy 'ddp', or audit a saved checkpoint")
        self._metrics(trainer, pl_module, images=min(2, self.options["images"]))
        self.audit = None

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Audit the model and log the metrics."""
        if (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            pl_module.log_dict(self._metrics(trainer, pl_module), sync_dist=trainer.world_size > 1)

    def _metrics(self, trainer: Any, pl_module: Any, **changed: Any) -> dict[str, float]:
        """Return the metrics of an audit in the first process, in all processes, or raise its error in all of them."""
        error, metrics = None, {}
        if trainer.is_global_zero:
            try:
                model = pl_module if self.get_model is None else self.get_model(pl_module)
                self.audit = log_audit(model, self.data, epoch=trainer.current_epoch, **self.options | changed)
                metrics = metrics_of(self.audit, self.prefix) if self.audit is not None else {}
            except Exception as raised:  # the other processes wait for a message
                error = raised
        message, metrics = trainer.strategy.broadcast((None if error is None else str(error), metrics))
        if error is not None:
            raise error
        if message is not None:
            raise ShiftscopeError(message)
        return metrics
