# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2 Feature visualization
#
# Lesson 1 showed that a perceptron underfits randomly placed garments. Can this be *seen* in the network? The weights
# of the first layer can be displayed as images. For later layers, an image that maximally activates a unit can be
# synthesized by gradient ascent. This lesson displays the weights, synthesizes images, compares them with real
# garments, and tests the synthesized images with another network.
#
# **Time:** 60 min reading, 3 min computation, 30 min exercises.
#
# **Goals:**
#
# - Read weights as images.
# - Synthesize an image by gradient ascent.
# - Test a synthesized image with real images and with another network.
#
# **Prerequisites:** lesson 1; the gradient of a function of several variables.
#
# **Make a prediction.** Sketch the image that you expect to maximally activate the class *pullover* of the perceptron.
# And for the convnet?

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from lesson_setting import COLORS, by_setting, choose_data, credit, trained_model

import shiftscope
from shiftscope.data import Subset
from shiftscope.reporting import (
    class_gallery,
    model_title,
    neighbors_figure,
    neuron_gallery,
    weight_grid,
)
from shiftscope.reporting.attribution import attribution_figure
from shiftscope.reporting.figure_style import SIGNED
from shiftscope.visualization import (
    attribute,
    coarser,
    find_neighbors,
    unit_table,
    visualize,
)

# %%
data = choose_data()
placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
# both trained on random placements
models = {name: trained_model(name, data) for name in COLORS}
names = data.class_names
print(f"{data.name}: {', '.join(names)}")

# %% [markdown]
# ## Weights of the first layer
#
# A neuron of the perceptron has one weight for each of the 56 x 56 pixels of the canvas. Arranged like the pixels, the
# weights form an image: bright pixels in orange regions activate the neuron, bright pixels in blue regions inhibit it.

# %%
templates = models["two-full"].fc1.weight.detach().view(100, 1, 56, 56)
weight_grid(
    templates[:20].numpy(),
    title="Templates of the first 20 neurons of the perceptron",
    credit=credit(data),
)

# %% [markdown]
# The weights form stripes and blobs over the whole canvas and do not resemble garments. The first layer of the convnet
# has 30 filters of 5 x 5 pixels, small edges, bars and spots, which are applied at every position.

# %%
filters = models["two-conv"].conv1.weight.detach()
weight_grid(
    filters.numpy(),
    title="The 30 filters of the convnet's first layer",
    credit=credit(data),
)

# %% [markdown]
# ## Why the templates are blurred
#
# Is this a property of perceptrons, or an effect of random placements? Train two small perceptrons on the same subset
# of garments, one on centered garments and one on random placements.

# %%
few = replace(
    data,
    train=Subset(
        data.train, torch.arange(len(data.train))[: by_setting(3_000, 12_000)]
    ),
)
short = shiftscope.TrainSettings(
    epochs=by_setting(8, 10), batch_size=125, validation=0
)
trained = {}
for title, training_placement in {
    "centered": placement.center_only(),
    "random": placement,
}.items():
    model = shiftscope.models.build_model("two-full", seed=0)
    shiftscope.train(model, few, placement=training_placement, settings=short)
    trained[title] = model.fc1.weight.detach().view(100, 56, 56)


def neighbor_correlation(weights):
    """Return the correlation between horizontally adjacent weights in the middle of
    the canvas.
    """
    middle = weights[:, 14:42, 14:42]
    return float(
        np.corrcoef(middle[:, :, 1:].flatten(), middle[:, :, :-1].flatten())[0, 1]
    )


for title, weights in trained.items():
    print(
        f"trained on {title} placements: correlation of neighboring weights "
        f"{neighbor_correlation(weights):.2f}"
    )

# %% tags=["hide-input"]
figure, axes = plt.subplots(2, 10, figsize=(12, 2.8), layout="constrained")
for row, (title, weights) in enumerate(trained.items()):
    for panel, image in zip(axes[row], weights[:10], strict=True):
        end = float(image.abs().quantile(0.995))
        panel.imshow(image, cmap=SIGNED, vmin=-end, vmax=end)
        panel.set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(title)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **Result.** The upper row has templates with sleeves, soles and trouser legs in the middle, surrounded by noise at
# pixels that no garment covers. (Some neurons contain only noise: they were never active in training.) Most templates
# of the lower row are stripes and blobs.
#
# Each training step adds a small multiple of each training image to the weights of a neuron. With random placements, an
# image appears at 841 positions, so over time the sum is the garment *averaged over all positions*. This average is
# blurred:

# %%
trousers = (data.train.labels == names.index("Trouser")).nonzero()[:200, 0]
pixels = data.train.gather(trousers)
averages = {
    "one garment": placement.place(pixels[:1], placement.centered(1))[0, 0],
    "200 of its class, centered": placement.place(
        pixels, placement.centered(len(pixels))
    )
    .float()
    .mean(0)[0],
    "one garment, at all 841 positions": placement.place(
        pixels[:1].expand(841, -1, -1, -1), placement.offsets()
    )
    .float()
    .mean(0)[0],
}

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
for panel, (title, image) in zip(axes, averages.items(), strict=True):
    panel.imshow(image, cmap="gray")
    panel.set_title(title, fontsize=10)
    panel.set(xticks=[], yticks=[])
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# The only features left in the blurred average are wide stripes: long and vertical, or flat and horizontal. Collars and
# sleeves are lost. This explains the errors of lesson 1: shirts and coats are confused, and so are sandals and
# sneakers, but seldom trousers and bags. A filter of the convnet is not blurred, because the convolution applies it at
# every position and detects its edge wherever it occurs.

# %% [markdown]
# ## Gradient ascent
#
# Weights of deeper layers cannot be displayed as input images. Instead, synthesize an image that maximizes the score of
# a class: start with a gray canvas, compute the gradient of the score with respect to the pixels, change the pixels
# slightly in this direction, and repeat. This is gradient ascent: the weights are fixed and the pixels are optimized.

# %%
def synthesize(model, steps=40, length=1.0):
    """Return ten images, one per class, by gradient ascent from mid-gray."""
    images = torch.full((10, 1, 56, 56), 0.5)
    for _ in range(steps):
        images.requires_grad_()
        # the score of class k for image k, summed
        score = model(images).diagonal().sum()
        (gradient,) = torch.autograd.grad(score, images)
        norms = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        images = (images + length * gradient / norms).clamp(0, 1).detach()
    return images


def predict(model, images):
    """Return the predicted class of each image."""
    with torch.no_grad():
        return model(images).argmax(1)


OTHER = {"two-full": "two-conv", "two-conv": "two-full"}
classes = torch.arange(10)
syntheses = {(name, "plain"): synthesize(model) for name, model in models.items()}
for name, model in models.items():
    own = int((predict(model, syntheses[name, "plain"]) == classes).sum())
    print(
        f"the {model_title(name)} assigns {own} of its 10 images to the intended "
        "class"
    )

# %% tags=["hide-input"]
figure, axes = plt.subplots(2, 10, figsize=(12, 3), layout="constrained")
for row, name in enumerate(models):
    for column, panel in enumerate(axes[row]):
        panel.imshow(syntheses[name, "plain"][column, 0], cmap="gray")
        panel.set(xticks=[], yticks=[])
        if row == 0:
            panel.set_title(names[column], fontsize=9)
    axes[row, 0].set_ylabel(model_title(name))
plt.show()

# %% [markdown]
# Each network classifies nearly all of its images correctly with high confidence, but to humans they look like noise.
# Each image contains many small patterns that this network adds up at exactly these positions. After a shift by a few
# pixels, most of them have no effect (exercise 3).
#
# `shiftscope.visualize` uses gradient ascent with regularization: before each step the image is shifted and blurred
# slightly, so that only patterns that do not depend on an exact position remain. (See [feature
# visualization](../looking-inside.md).)

# %%
regularized = {
    name: visualize(
        model, "class:all", class_names=names, placement=placement, name=name
    )
    for name, model in models.items()
}
class_gallery(regularized["two-full"], credit=credit(data))

# %%
class_gallery(regularized["two-conv"], credit=credit(data))

# %% [markdown]
# Compare these images with your sketch. The images of the convnet contain parts of their class: two trouser legs, the
# straps of a sandal, the sole and shaft of an ankle boot. For shirt and pullover, there are several sleeves and hems
# side by side. The images of the perceptron combine the stripes and blobs of its templates.

# %% [markdown]
# ## Single neurons

# %%
neuron_gallery(
    visualize(models["two-full"], "fc1:0-19", name="two-full"), credit=credit(data)
)

# %%
neuron_gallery(
    visualize(models["two-conv"], "fc1:0-19", name="two-conv"), credit=credit(data)
)

# %% [markdown]
# The images of the perceptron's neurons resemble their templates: for a single linear layer, the optimal image is
# proportional to the weights. The neurons of the convnet follow two convolutional layers and respond to parts: soles,
# slanted edges, stripes.
#
# ## Comparison with real garments
#
# A synthesized image shows the *maximal* activation of a unit, not its typical input. Therefore also look at real
# images. For four classes, the figure shows the synthesized image, the test images with the highest activation, each at
# its best position, and a histogram of the activations of all evaluated images. The triangle marks the synthesized
# image.

# %%
GOAL = "class:1,6,7,8"
synthesis = visualize(
    models["two-conv"],
    GOAL,
    class_names=names,
    placement=placement,
    name="two-conv",
)
(near,) = find_neighbors(
    models["two-conv"],
    [GOAL],
    data,
    k=6,
    placement=coarser(placement, by_setting(9, 49)),
    images=by_setting(150, 500),
    name="two-conv",
)
neighbors_figure(
    replace(synthesis, objective=near.objective, units=near.units), near, images=6
)

# %% [markdown]
# In most cases, the activation of the synthesized image is higher than that of all real images. It exaggerates the
# features of the class and is not a typical example. And some of the garments with the highest activation for *shirt*
# are not shirts.

# %% [markdown]
# ## Dead units
#
# Some neurons may never be active, for any garment at any position. The figure shows how often each neuron of `fc1` is
# active.

# %%
activity = {}
for name, model in models.items():
    units = unit_table(
        model, data, placement=placement, images=by_setting(300, 2_000)
    )
    layers = [row.layer for row in units.layers]
    before = sum(row.units for row in units.layers[: layers.index("fc1")])
    active = activity[name] = np.sort(units.active[before : before + 100])[::-1]
    print(
        f"{model_title(name)}: {(active == 0).sum()} of 100 neurons of fc1 are "
        "dead, the median one is active for "
        f"{np.median(active):.0%} of the garments"
    )

# %% tags=["hide-input"]
figure, panel = plt.subplots(figsize=(8, 3), layout="constrained")
for (name, active), line in zip(activity.items(), ("-", "--"), strict=True):
    panel.plot(active, line, color=COLORS[name], label=model_title(name))
panel.set(
    xlabel="neurons of fc1, most active first",
    ylabel="fraction of garments",
    title="Activity of neurons",
)
panel.legend()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# A dead neuron uses time and memory without effect. Gradient ascent still finds *some* image that activates it.
# Therefore never judge a unit by its synthesized image alone.
#
# ## Attribution
#
# A different question concerns a given image: which pixels determine the prediction? **Saliency** is the derivative of
# the score with respect to each pixel. **Occlusion** is the decrease of the score when a window is replaced by the
# background.

# %%
first = torch.arange(3)
canvases = placement.place(data.test.gather(first), placement.sample(first, seed=0))
attributions = [
    attribute(
        models["two-conv"],
        canvases,
        method=method,
        labels=data.test.labels[first].numpy(),
        name="two-conv",
        class_names=names,
    )
    for method in ("saliency", "occlusion")
]
attribution_figure(attributions, credit=credit(data))

# %% [markdown]
# Saliency also marks pixels of the *empty* canvas: it measures what would change the score, not what contributed to it.
# Occlusion marks the garment.
#
# ## Transfer to another network
#
# A synthesized image shows what *this* network responds to. Does it also show what garments look like? A simple test is
# to classify the images with the **other** network. It was trained on the same garments but has different weights. A
# realistic garment should be classified correctly by both.
#
# **Make a prediction**: how many of the ten images from plain gradient ascent does the other network assign to the
# intended class? And how many of the regularized ones?

# %%
for name, synthesis in regularized.items():
    syntheses[name, "regularized"] = torch.from_numpy(synthesis.images)

# %% [markdown]
# ## Summary

# %%
predicted = {
    key: (predict(models[key[0]], images), predict(models[OTHER[key[0]]], images))
    for key, images in syntheses.items()
}
correct = {
    key: (int((own == classes).sum()), int((other == classes).sum()))
    for key, (own, other) in predicted.items()
}

# %% tags=["hide-input"]
figure, axes = plt.subplots(4, 10, figsize=(12, 6), layout="constrained")
for row, kind in enumerate(("plain", "regularized")):
    for step, name in enumerate(models):
        images, line = syntheses[name, kind], axes[2 * row + step]
        other = predicted[name, kind][1]
        line[0].set_ylabel(f"{model_title(name)},\n{kind}")
        for k, panel in enumerate(line):
            panel.imshow(images[k, 0], cmap="gray")
            ok = int(other[k]) == k
            panel.set_title(
                f"{'✓' if ok else '✗'} {names[other[k]]}",
                fontsize=8,
                color="black" if ok else "0.5",
                fontweight="bold" if ok else "normal",
            )
            panel.set(xticks=[], yticks=[])
            if 2 * row + step == 3:
                panel.set_xlabel(names[k], fontsize=9)
figure.suptitle(
    "Synthesized for the class at the bottom; above each image, the prediction of "
    "the OTHER network"
)
figure.supxlabel(
    f"The networks were trained on {credit(data).removeprefix('Images: ')}",
    fontsize=8,
)
plt.show()

# %%
for (name, kind), (own, other) in correct.items():
    print(
        f"{model_title(name)}, {kind}: {own} of 10 images classified as intended, "
        f"{other} of 10 by the other network"
    )
own, other = (sum(correct[name, "plain"][who] for name in models) for who in (0, 1))
print(
    f"Of 20 images from plain gradient ascent, {own} are classified as intended by "
    f"their own network, and {other} by "
    "the other one."
)
assert own >= 16, "gradient ascent should maximize the class of its own network"
assert other <= own - 8, "plain gradient ascent transfers to the other network"

# %% [markdown]
# At chance level, 2 of 20 images would be assigned to the intended class. Plain gradient ascent is no better for the
# other network: its images show which patterns *this* set of weights adds up, not what a garment looks like. The
# regularized images transfer much better and are also easier to recognize. A synthesized image is a hypothesis about a
# unit. Test it with real images and with another network.
#
# The initial image explains little of the difference. Plain gradient ascent starts from gray, which never occurs as a
# background in the data, and the regularized one from black. Starting from black, 2 of 10 plain images of the
# perceptron transfer to the convnet instead of 1; on the convnet, plain gradient ascent makes no progress from black.
#
# ## Exercises
#
# **1. Random start.** Let `visualize` start from noise with two seeds (`start="random"`,
# `settings=SynthesisSettings(seed=1)` from `shiftscope.settings`). Are the two images of a class similar? For which
# network are they more similar?
#
# **2. Real garments.** Of the test images that one network classifies correctly, how many does the other network
# classify correctly as well? Compare this with the synthesized images.
#
# **3. Shifts.** Roll the regularized images by 1, 2, 4 and 8 pixels (`torch.roll`). How many does the same network
# still assign to the intended class?
#
# [Solutions](2_solutions.py)
