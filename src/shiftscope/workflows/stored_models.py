"""The model of an audit that lies in a run folder, with its images, where both are still there."""

from pathlib import Path
from typing import Any

from shiftscope.data import dataset_catalog
from shiftscope.data.fashion_mnist import NAME as FASHION_MNIST
from shiftscope.errors import CheckpointError, DataError
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.resolve import is_object_name
from shiftscope.results import Audit
from shiftscope.runs import RunFolder
from shiftscope.runs.records import StoredRecord, read_document
from shiftscope.workflows.checkpoints import open_checkpoint
from shiftscope.workflows.shared_images import Asked
from shiftscope.workflows.subjects import check_drawings, checkpoint_subject


def asked_of(stored: StoredRecord, data_dir: Path | None, device: str, progress: Progress) -> Asked:
    """Return the model of an audit and the images that it was about; nothing is downloaded, no code imported.

    Args:
        stored: an audit.
        data_dir: folder with the dataset's files.

    Raises:
        CheckpointError: its checkpoint is not beside it, is damaged or would need code.
        DataError: the images are not on this machine.
    """
    audit = stored.record
    if not isinstance(audit, Audit) or stored.job is None:
        raise CheckpointError(f"no checkpoint lies beside {stored.folder}")
    run = RunFolder(stored.run)
    trained = open_checkpoint(run.checkpoint(stored.job), device=device)
    dataset = _dataset(read_document(run.environment)) or trained.config.provenance.dataset or ""
    _check_here(dataset, data_dir)
    given = {"data": dataset} | ({} if data_dir is None else {"data_dir": data_dir})
    subject = checkpoint_subject(trained, given, progress)
    place = Placement.of(audit.geometry, trained.channels)
    return Asked(model=trained.model, data=subject.data, placement=place, validation=subject.validation)


def _dataset(environment: dict[str, Any]) -> str | None:
    """Return what the run was begun with, for instance "npz:FILE": a dataset's own name need not say where it lies."""
    settings = environment.get("settings")
    data = settings.get("data") if isinstance(settings, dict) else None
    name = data.get("data") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def _check_here(dataset: str, data_dir: Path | None) -> None:
    """Raise a `DataError` where the images would have to be fetched, or come from code; see `check_drawings` too."""
    check_drawings(dataset)
    if is_object_name(dataset):
        raise DataError(f"the images come from code, {dataset}, which is not imported for a report")
    found = {entry["name"]: entry["found"] for entry in dataset_catalog(data_dir)}
    if dataset == FASHION_MNIST and found[FASHION_MNIST] is None:
        raise DataError("the files of Fashion-MNIST are not on this machine: name their folder with --data-dir")
