"""`shiftscope visualize --attribute` and `--units`: pixels that decide a prediction, and statistics of the units."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.hooks import find_layer
from shiftscope.progress import Progress
from shiftscope.reporting import image_credit, model_title, save_figure, weight_grid
from shiftscope.reporting.attribution import attribution_figure
from shiftscope.reporting.weights import filter_grid
from shiftscope.results import Attribution, UnitTable
from shiftscope.runs import slug
from shiftscope.runs.outputs import figure_files, new_files, record_files
from shiftscope.visualization.activation_statistics import unit_table
from shiftscope.visualization.attribution import attribute, default_methods
from shiftscope.visualization.attribution_methods import METHODS
from shiftscope.visualization.parameters import weight_images
from shiftscope.workflows.load_inputs import (
    DESCRIBED,
    DescribedOptions,
    LoadedCheckpoint,
    ModelWithData,
    add_data,
    open_described,
)
from shiftscope.workflows.report.figures import training_credit
from shiftscope.workflows.use_checkpoint import fit_images

FIGURE = "attribution"
UNIT_FILES = record_files("units")


def attribute_checkpoint(checkpoint: Path | str, images: Sequence[Path] = (), *, count: int = 6,
                         methods: Sequence[str] | None = None, target: str | None = None, layer: str | None = None,
                         out: Path, overwrite: bool = False, overrides: dict[str, Any] | None = None, seed: int = 0,
                         device: str = "auto", loading: DescribedOptions = DESCRIBED,
                         progress: Progress) -> list[Attribution]:
    """Attribute predictions to pixels; write one record per method and one figure into `out`.

    Args:
        checkpoint: checkpoint folder or run folder, or another source of `load_model`.
        images: PNG or JPEG files, placed in the middle of the canvas. Empty: the first `count` test images of the
            dataset that the model was trained on, each at one random offset.
        methods: of "integrated-gradients", "grad-cam", "occlusion" and "saliency"; None: those that fit the model.
        target: "class:Bag", or a unit of a layer, "fc1:17"; None: for each image the predicted class.
        layer: the layer for Grad-CAM; None: the last convolution.
        overrides: fields of `DataSettings` for the test images.
        loading: further arguments of `open_described`.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `attribute`.
    """
    loaded = open_described(checkpoint, device=device, progress=progress, **loading)
    shape = (loaded.channels, *loaded.placement.canvas)
    chosen = list(methods) if methods is not None else default_methods(loaded.model, shape)
    require(bool(chosen), "methods", chosen, "at least one")
    if layer is not None and "grad-cam" not in chosen:
        raise UsageError(f"the layer {layer!r} is for the method grad-cam, which is not among {', '.join(chosen)}: add "
                         "it, or leave the layer out")
    with new_files(out, attribution_files(chosen), overwrite=overwrite):
        if images:
            pixels, labels, credit, source = _file_canvases(images, loaded, progress), None, "", {}
        else:
            pixels, labels, credit, source = _test_canvases(loaded, count, overrides or {}, seed, progress)
        results = [attribute(loaded.model, pixels, target, method=method, layer=layer if method == "grad-cam" else None,
                             baseline=loaded.placement.background, labels=labels, class_names=loaded.class_names,
                             name=loaded.config.name, progress=progress) for method in chosen]
        results = [replace(result, **source) for result in results]
        for result in results:
            result.save(out / _folder(result.method))
        save_figure(attribution_figure(results, credit=credit, limit=len(pixels)), out, FIGURE)
    return results


def attribution_files(methods: Iterable[str] = METHODS) -> list[str]:
    """Return the files that `attribute_checkpoint` writes with these methods."""
    return [*figure_files(FIGURE), *record_files(*map(_folder, methods))]


def _folder(method: str) -> str:
    return slug(f"attribution-{method}")


def _file_canvases(images: Sequence[Path], loaded: LoadedCheckpoint, progress: Progress) -> torch.Tensor:
    """Return image files on their canvases, uint8 (B, C, H, W)."""
    pixels, _ = fit_images(images, loaded, progress)
    return loaded.placement.place(pixels, loaded.placement.centered(len(pixels)))


def _test_canvases(loaded: LoadedCheckpoint, count: int, overrides: dict[str, Any], seed: int,
                   progress: Progress) -> tuple[torch.Tensor, np.ndarray, str, dict[str, Any]]:
    """Return the first test images on their canvases, their labels, and their source as text and as fields."""
    require(count >= 1, "count", count, "at least 1")
    inputs = add_data(loaded, overrides, progress)
    inputs.data.require_labels("the attribution of test images")
    rows = torch.arange(min(count, len(inputs.data.test)))
    offsets = inputs.placement.sample(rows, seed=seed)
    canvases = inputs.placement.place(inputs.data.test.gather(rows), offsets)
    credit = image_credit(inputs.data.name, synthetic=inputs.data.synthetic)
    source = {"dataset": inputs.data.name, "split": "test", "trained": inputs.trained, "index": rows.tolist(),
              "offsets": offsets.tolist(), "placement": inputs.placement.to_dict()}
    return canvases, inputs.data.test.labels[rows].numpy(), credit, source


def inspect_units(checkpoint: Path | str, *, out: Path, overwrite: bool = False,
                  overrides: dict[str, Any] | None = None, images: int = 1000, device: str = "auto",
                  loading: DescribedOptions = DESCRIBED, progress: Progress) -> UnitTable:
    """Write the table of units into `out`/units, and a figure of the weights of each layer whose weights are images.

    It is computed on the first `images` test images, each at one random offset.

    Raises:
        CheckpointError, DataError, UsageError: see `load`, `load_dataset` and `unit_table`.
    """
    loaded = open_described(checkpoint, device=device, progress=progress, **loading)
    inputs = add_data(loaded, overrides or {}, progress)
    with new_files(out, UNIT_FILES, overwrite=overwrite):
        table = unit_table(inputs.model, inputs.data, placement=inputs.placement, images=images, name=inputs.name,
                           progress=progress)
        table.save(out / "units")
        for row in table.layers:
            _draw_weights(inputs, row.layer, out)
    return table


def _draw_weights(inputs: ModelWithData, layer: str, out: Path) -> None:
    """Draw a layer's weights if they are images: of one channel in a grid, of several with one column per channel."""
    try:
        shape = (inputs.data.shape[0], *inputs.placement.canvas)
        weights = weight_images(inputs.model, layer, shape=shape).cpu().float().numpy()
    except UsageError:  # the input of the layer is not a map
        return
    module = find_layer(inputs.model, layer)
    convolution = isinstance(module, nn.Conv2d)
    title = f"{'Filters' if convolution else 'Weights of the neurons'} of {layer} in the {model_title(inputs.name)}"
    credit = training_credit(inputs.data.name, synthetic=inputs.data.synthetic)
    if weights.shape[1] == 1 and not (convolution and module.groups > 1):
        figure = weight_grid(weights, title=title, credit=credit)
    else:
        figure = filter_grid(weights, title=title, groups=module.groups if convolution else 1,
                             unit="filter" if convolution else "neuron", credit=credit)
    save_figure(figure, out, slug(f"weights-{layer}"))
