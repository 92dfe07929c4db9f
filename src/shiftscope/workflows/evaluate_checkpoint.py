"""`shiftscope evaluate`: accuracy, confusions and gallery of a checkpoint."""

from pathlib import Path
from typing import Any

from shiftscope.data.base import Split
from shiftscope.evaluation import evaluate
from shiftscope.outputs import OutputType
from shiftscope.progress import Progress
from shiftscope.reporting import classified_gallery, confusion_matrix, save_figure
from shiftscope.results import Evaluation
from shiftscope.runs.outputs import figure_files, new_files, record_files
from shiftscope.workflows.checkpoints import open_checkpoint
from shiftscope.workflows.subjects import checkpoint_subject

CONFUSION, CLASSIFIED = "confusion", "classified"
"""Names of the figures."""


def evaluate_checkpoint(checkpoint: Path, overrides: dict[str, Any] | None = None, *, split: Split = "test",
                        out: Path | None = None, overwrite: bool = False, seed: int = 0,
                        output_type: OutputType | None = None, device: str = "auto", allow_code: str | None = None,
                        progress: Progress) -> Evaluation:
    """Evaluate a checkpoint on the dataset that it was trained on, or on another with the same classes.

    Args:
        checkpoint: checkpoint folder or run folder.
        overrides: fields of `DataSettings` that differ from what the model was trained on.
        split: "test", "train" or "validation".
        out: folder for the record and the figures.
        overwrite: replace files that are there.
        output_type: what the model returns; determined on a batch of images unless given.

    Raises:
        UsageError, OutputError: a file in `out` exists, or `out` cannot be written; raised first.
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `evaluate`.
    """
    with new_files(out, [*record_files("."), *figure_files(CONFUSION, CLASSIFIED)], overwrite=overwrite):
        subject = checkpoint_subject(open_checkpoint(checkpoint, device=device, allow_code=allow_code),
                                     overrides or {}, progress)
        found = evaluate(subject.model, subject.data, placement=subject.placement, split=split, seed=seed,
                         validation=subject.validation, name=subject.name, trained=subject.trained,
                         output_type=output_type, progress=progress)
        if out is not None:
            found.save(out)
            save_figure(confusion_matrix(found), out, CONFUSION)
            save_figure(classified_gallery(found), out, CLASSIFIED)
    return found

