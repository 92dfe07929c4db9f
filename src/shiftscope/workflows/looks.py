"""What a model likes to see, from a model to syntheses and figures: shared by the main job and `visualize`."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import nn

from shiftscope.reporting import class_neurons, image_credit, model_title
from shiftscope.results import Synthesis
from shiftscope.visualization import class_weights, default_objectives, visualize


def looks(model: nn.Module, picture: tuple[int, int, int], class_names: Sequence[str], name: str) -> list[Synthesis]:
    """Return what all classes and the neurons of the first fully connected layer like to see.

    Args:
        picture: (C, H, W) of the model's pictures.
        name: of the model, in tables and figures.
    """
    return [visualize(model, goal, shape=picture, class_names=class_names, name=name)
            for goal in default_objectives(model, picture)]


def learned_from(dataset: str, *, drawn: bool = False) -> str:
    """Return the line that says what a model was trained on, for pictures that are none of its images.

    >>> learned_from("folder:cats")
    'The model learned from folder:cats'
    """
    return f"The model learned from {image_credit(dataset, drawn=drawn).removeprefix('Images: ')}"


def class_neurons_figure(model: nn.Module, synthesis: Synthesis, *, credit: str) -> Figure | None:
    """Draw which of a layer's neurons speak for which class; None where they do not lead to the classes at once."""
    layer, _, units = synthesis.objective.partition(":")
    if layer == "class" or units != "all" or not synthesis.class_names:
        return None
    found = class_weights(model, neurons=len(synthesis.units), classes=len(synthesis.class_names))
    if found is None:
        return None
    weights, bias = (part.cpu().float().numpy() for part in found)
    title = f"Which neurons of {layer} speak for a class in the {model_title(synthesis.model)}"
    return class_neurons(weights, bias, synthesis.class_names, title=title, layer=layer, credit=credit)
