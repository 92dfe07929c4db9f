"""Create the figures of docs/looking-inside.md from the stored checkpoints of the course models.

Run `python docs/images/make_looking_inside_figures.py` from the root of the repository. Needs the files of
Fashion-MNIST.
"""

from pathlib import Path

import torch

import shiftscope
from shiftscope.reporting import (
    class_gallery,
    image_credit,
    neighbors_figure,
    neuron_gallery,
    reduce_colors,
    render_figure,
    weight_grid,
)
from shiftscope.reporting.attribution import attribution_figure
from shiftscope.visualization import attribute, coarser, find_neighbors, visualize
from shiftscope.visualization.attribution import default_methods
from shiftscope.visualization.parameters import weight_images

HERE = Path(__file__).parent
TRAINED = "The model was trained on Fashion-MNIST, (c) 2017 Zalando SE, MIT license"
SHOWN = "class:Trouser", "class:Sneaker", "class:Bag", "class:Shirt"
"""Classes shown next to real images."""


def write(figure, name: str) -> None:
    """Write a figure as a small PNG file."""
    (HERE / f"inside-{name}.png").write_bytes(reduce_colors(render_figure(figure, "png")))


def main() -> None:
    """Visualize both models and write the figures to the folder of this file."""
    data = shiftscope.load_dataset("fashion-mnist")
    placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
    models = {name: shiftscope.load(HERE.parents[1] / "examples" / "checkpoints" / name)
              for name in ("two-full", "two-conv")}
    for name, model in models.items():
        write(class_gallery(visualize(model, "class:all", class_names=data.class_names, placement=placement),
                            credit=TRAINED), f"classes-{name}")
        write(neuron_gallery(visualize(model, "fc1:all"), credit=TRAINED), f"neurons-{name}")
    write(weight_grid(weight_images(models["two-conv"], "conv1").numpy(), title="Filters of conv1 in the convnet",
                      credit=TRAINED), "filters-two-conv")
    neighbors_and_attributions(models["two-conv"], data, placement)


def neighbors_and_attributions(convnet: torch.nn.Module, data: shiftscope.Dataset,
                               placement: shiftscope.Placement) -> None:
    """Draw real images next to synthesized images of a few classes, and attribution maps of three images."""
    coarse = coarser(placement, 64)
    goal = ",".join(str(data.class_names.index(name.removeprefix("class:"))) for name in SHOWN)
    synthesis = visualize(convnet, f"class:{goal}", class_names=data.class_names, placement=placement)
    near, = find_neighbors(convnet, [synthesis.objective], data, k=7, placement=coarse, images=500, name="two-conv")
    write(neighbors_figure(synthesis, near, images=7), "neighbors-two-conv")
    first = torch.arange(3)
    canvases = placement.place(data.test.gather(first), placement.sample(first, seed=0))
    attributions = [attribute(convnet, canvases, method=method, labels=data.test.labels[first].numpy(), name="two-conv",
                      class_names=data.class_names) for method in default_methods(convnet, (1, *placement.canvas))]
    figure = attribution_figure(attributions, credit=image_credit(data.name, synthetic=False), limit=3)
    write(figure, "attribution-two-conv")


if __name__ == "__main__":
    main()
