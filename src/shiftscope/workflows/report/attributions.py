"""Attribution maps of the images that the report of a run shows."""

from dataclasses import replace
from pathlib import Path

import torch

from shiftscope.errors import Interrupted, ShiftscopeError
from shiftscope.progress import Progress
from shiftscope.results import Attribution, Audit
from shiftscope.visualization.attribution import attribute
from shiftscope.workflows.load_inputs import ModelWithData

STEPS = 16
"""Steps of integrated gradients: more would take too long for a demo."""


def attribute_shown(audit: Audit, model: ModelWithData, folder: Path, progress: Progress) -> Attribution | None:
    """Attribute the predictions for the shown images of an audit, centered, by integrated gradients.

    The result is written into `folder`. It is None, with a note, if there are no maps, for instance because the model
    has no gradients.
    """
    index = audit.shown_index
    images, placement = model.data.split_images(audit.split, model.validation), model.placement
    offsets = placement.centered(len(index))
    try:
        found = attribute(model.model, placement.place(images.gather(torch.from_numpy(index)), offsets), steps=STEPS,
                          baseline=placement.background, labels=audit.labels[index], class_names=audit.class_names,
                          name=audit.model, progress=progress)
    except Interrupted:
        raise
    except ShiftscopeError as error:
        progress.note(f"no attribution maps of {audit.model}: {error}")
        return None
    found = replace(found, dataset=audit.dataset, split=audit.split, trained=audit.trained, placement=audit.placement,
                    index=index.tolist(), offsets=[(int(dy), int(dx)) for dy, dx in offsets.tolist()])
    found.save(folder)
    return found
