"""Make the pictures of docs/looking-inside.md from the stored checkpoints of the course's two models.

Run from the root of the repository: `python docs/images/make_looking_inside_pictures.py`, with the files of
Fashion-MNIST where Shiftscope finds them.
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
from shiftscope.visualization.parameters import weight_pictures

HERE = Path(__file__).parent
LEARNED = "The model learned from Fashion-MNIST, (c) 2017 Zalando SE, MIT license"
SHOWN = "class:Trouser", "class:Sneaker", "class:Bag", "class:Shirt"
"""Classes beside which real images stand."""


def write(figure, name: str) -> None:
    """Write a figure as a small PNG file."""
    (HERE / f"inside-{name}.png").write_bytes(reduce_colors(render_figure(figure, "png")))


def main() -> None:
    """Look into both models and write the pictures beside this file."""
    data = shiftscope.load_dataset("fashion-mnist")
    place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
    models = {name: shiftscope.load(HERE.parents[1] / "examples" / "checkpoints" / name)
              for name in ("two-full", "two-conv")}
    for name, model in models.items():
        write(class_gallery(visualize(model, "class:all", class_names=data.class_names, placement=place),
                            credit=LEARNED), f"classes-{name}")
        write(neuron_gallery(visualize(model, "fc1:all"), credit=LEARNED), f"neurons-{name}")
    write(weight_grid(weight_pictures(models["two-conv"], "conv1").numpy(), title="Filters of conv1 in the convnet",
                      credit=LEARNED), "filters-two-conv")
    beside_and_why(models["two-conv"], data, place)


def beside_and_why(convnet: torch.nn.Module, data: shiftscope.Dataset, place: shiftscope.Placement) -> None:
    """Draw real images beside the pictures of a few classes, and the pixels that decide about three images."""
    coarse = coarser(place, 64)
    goal = ",".join(str(data.class_names.index(name.removeprefix("class:"))) for name in SHOWN)
    made = visualize(convnet, f"class:{goal}", class_names=data.class_names, placement=place)
    near, = find_neighbors(convnet, [made.objective], data, k=7, placement=coarse, images=500, name="two-conv")
    write(neighbors_figure(made, near, images=7), "neighbors-two-conv")
    first = torch.arange(3)
    canvases = place.place(data.test.gather(first), place.sample(first, seed=0))
    whys = [attribute(convnet, canvases, method=method, labels=data.test.labels[first].numpy(), name="two-conv",
                      class_names=data.class_names) for method in default_methods(convnet, (1, *place.canvas))]
    write(attribution_figure(whys, credit=image_credit(data.name, synthetic=False), limit=3), "attribution-two-conv")


if __name__ == "__main__":
    main()
