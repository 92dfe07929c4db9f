"""`shiftscope evaluate`: accuracy, confusions and gallery of a checkpoint."""

from pathlib import Path
from typing import Any

from shiftscope.errors import UsageError
from shiftscope.evaluation import evaluate
from shiftscope.evaluation.accuracy import Split
from shiftscope.progress import Progress
from shiftscope.reporting import classified_gallery, confusion_matrix, save_figure
from shiftscope.results import Evaluation
from shiftscope.settings import DataSettings
from shiftscope.workflows.checkpoints import open_checkpoint
from shiftscope.workflows.inputs import open_data, placement_for


def evaluate_checkpoint(checkpoint: Path, overrides: dict[str, Any] | None = None, *, split: Split = "test",
                        out: Path | None = None, seed: int = 0, device: str = "auto", allow_code: str | None = None,
                        progress: Progress) -> Evaluation:
    """Evaluate a checkpoint on the dataset that it was trained on, or on another with the same classes.

    Args:
        checkpoint: checkpoint folder or run folder.
        overrides: fields of `DataSettings` that differ from what the model was trained on.
        split: "test", "train" or "validation".
        out: folder for the record and the figures.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `evaluate`.
    """
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    provenance = trained.config.provenance
    known = {"data": provenance.dataset or DataSettings.data, "canvas": trained.placement.canvas}
    data = DataSettings(**(known | (overrides or {})))
    images, _ = open_data(data, progress)
    placement = trained.placement
    if data.canvas != placement.canvas or images.shape[1:] != placement.image:
        placement = placement_for(images, data)
    if list(images.class_names) != trained.class_names:
        raise UsageError(f"the checkpoint tells {', '.join(trained.class_names)} apart, the dataset {images.name} has "
                         f"{', '.join(images.class_names)}: choose the dataset that the model was trained on")
    cut = (provenance.settings or {}).get("validation", 5000)
    found = evaluate(trained.model, images, placement=placement, split=split, validation=cut, seed=seed,
                     name=trained.config.name, trained=provenance.trained, progress=progress)
    if out is not None:
        found.save(out)
        save_figure(confusion_matrix(found), out, "confusion")
        save_figure(classified_gallery(found), out, "classified")
    return found

