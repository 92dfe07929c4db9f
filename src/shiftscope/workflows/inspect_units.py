"""What the units of a checkpoint do on real images, and its weights as pictures."""

from pathlib import Path
from typing import Any

from torch import nn

from shiftscope.errors import UsageError
from shiftscope.hooks import find_layer
from shiftscope.progress import Progress
from shiftscope.reporting import model_title, save_figure, weight_grid
from shiftscope.reporting.weights import filter_grid
from shiftscope.results import UnitTable
from shiftscope.runs import slug
from shiftscope.runs.outputs import new_files, record_files
from shiftscope.visualization.activation_statistics import unit_table
from shiftscope.visualization.parameters import weight_images
from shiftscope.workflows.checkpoints import open_checkpoint
from shiftscope.workflows.looks import learned_from
from shiftscope.workflows.subjects import Subject, checkpoint_subject

UNIT_FILES = record_files("units")


def inspect_units(checkpoint: Path, *, out: Path, overwrite: bool = False, overrides: dict[str, Any] | None = None,
                  images: int = 1000, device: str = "auto", allow_code: str | None = None,
                  progress: Progress) -> UnitTable:
    """Write the table of units into `out`/units, and a figure of the weights of each layer that has pictures.

    Args:
        checkpoint: checkpoint folder or run folder.
        out: folder.
        overwrite: replace files that are there.
        overrides: fields of `DataSettings` for the test images; the others are as the model was trained.
        images: how many test images, the first ones, each at one random place.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `units`.
    """
    trained = open_checkpoint(checkpoint, device=device, allow_code=allow_code)
    subject = checkpoint_subject(trained, overrides or {}, progress)
    with new_files(out, UNIT_FILES, overwrite=overwrite):
        table = unit_table(subject.model, subject.data, placement=subject.placement, images=images, name=subject.name,
                           progress=progress)
        table.save(out / "units")
        for row in table.layers:
            _draw_weights(subject, row.layer, out)
    return table


def _draw_weights(subject: Subject, layer: str, out: Path) -> None:
    """Draw a layer's weights where they are pictures: of one channel in a grid, of several a column a channel."""
    try:
        shape = (subject.data.shape[0], *subject.placement.canvas)
        weights = weight_images(subject.model, layer, shape=shape).cpu().float().numpy()
    except UsageError:  # it reads no map
        return
    module = find_layer(subject.model, layer)
    convolution = isinstance(module, nn.Conv2d)
    what = f"{'Filters' if convolution else 'Templates of the neurons'} of {layer} in the {model_title(subject.name)}"
    credit = learned_from(subject.data.name, synthetic=subject.data.synthetic)
    if weights.shape[1] == 1 and not (convolution and module.groups > 1):
        figure = weight_grid(weights, title=what, credit=credit)
    else:
        figure = filter_grid(weights, title=what, groups=module.groups if convolution else 1,
                             unit="filter" if convolution else "neuron", credit=credit)
    save_figure(figure, out, slug(f"weights-{layer}"))
