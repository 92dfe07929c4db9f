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
# # 2 Look inside
#
# Lesson 1 found that a perceptron is too weak for moved garments. Can one *see* that? A network is nothing but numbers,
# and some of them are pictures: the weights of its first layer. For the others one can ask the network to draw. We look
# at its weights, let it draw what it likes best, put real garments beside the drawings, and then ask somebody else
# whether the drawings are any good.
#
# **Guess first.** Take a pencil and draw what you expect the perceptron to like best when it is asked for a pullover.
# And the convnet?

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import torch
from lesson_setting import COLORS, by_setting, choose_data, credit, trained_model

import shiftscope
from shiftscope.data import Subset
from shiftscope.reporting import class_gallery, model_title, neighbors_figure, neuron_gallery, weight_grid
from shiftscope.reporting.attribution import attribution_figure
from shiftscope.reporting.figure_style import SIGNED
from shiftscope.visualization import attribute, coarser, find_neighbors, unit_table, visualize

data = choose_data()
place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
models = {name: trained_model(name, data) for name in COLORS}  # both learned from moved garments
names = data.class_names
print(f"{data.name}: {', '.join(names)}")

# %% [markdown]
# ## The first weights
#
# A neuron of the perceptron weighs each of the 56 x 56 pixels of the canvas. Laid out as the pixels are, its weights
# are a picture: bright pixels on orange excite the neuron, on blue they silence it.

# %%
templates = models["two-full"].fc1.weight.detach().view(100, 1, 56, 56)
weight_grid(templates[:20].numpy(), title="Templates of the first 20 neurons of the perceptron", credit=credit(data))

# %% [markdown]
# Stripes and clouds, spread over the whole canvas. Nothing there is a garment. The convnet's first weights are 30
# filters of 5 x 5 pixels: small edges, bars and spots, which it looks for everywhere.

# %%
filters = models["two-conv"].conv1.weight.detach()
weight_grid(filters.numpy(), title="The 30 filters of the convnet's first layer", credit=credit(data))

# %% [markdown]
# ## Why the templates are smeared
#
# Is that how perceptrons are, or does moving do it? Train two small ones on the same few garments: one on centered, one
# on moved ones.

# %%
few = replace(data, train=Subset(data.train, torch.arange(len(data.train))[:by_setting(3_000, 12_000)]))
short = shiftscope.TrainSettings(epochs=by_setting(8, 20), batch_size=125, validation=0)
trained = {}
for title, where in {"centered": place.center_only(), "random": place}.items():
    model = shiftscope.models.build_model("two-full", seed=0)
    shiftscope.train(model, few, placement=where, settings=short)
    trained[title] = model.fc1.weight.detach().view(100, 56, 56)


def neighbors_alike(weights):
    """Return the correlation between weights that stand side by side, in the middle of the canvas."""
    middle = weights[:, 14:42, 14:42]
    return float(np.corrcoef(middle[:, :, 1:].flatten(), middle[:, :, :-1].flatten())[0, 1])


figure, axes = plt.subplots(2, 10, figsize=(12, 2.8), layout="constrained")
for row, (title, weights) in enumerate(trained.items()):
    for panel, picture in zip(axes[row], weights[:10], strict=True):
        end = float(picture.abs().quantile(0.995))
        panel.imshow(picture, cmap=SIGNED, vmin=-end, vmax=end)
        panel.set(xticks=[], yticks=[])
    axes[row, 0].set_ylabel(title)
    print(f"learned from {title} garments: neighboring weights have a correlation of {neighbors_alike(weights):.2f}")
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **What we see.** Above, templates with sleeves, soles and trouser legs, in the middle of noise that no garment ever
# touched (some neurons are nothing but noise: they never took part). Below, stripes and clouds.
#
# Each step of training adds to a neuron's weights a little of each picture that it looks at. A moved garment comes at
# 841 places, so in the long run what is added is the garment *averaged over all places*. And that is a blur:

# %%
trousers = (data.train.labels == names.index("Trouser")).nonzero()[:200, 0]
pixels = data.train.gather(trousers)
averages = {"one garment": place.place(pixels[:1], place.centered(1))[0, 0],
            "200 of its class, centered": place.place(pixels, place.centered(len(pixels))).float().mean(0)[0],
            "one garment, at all 841 places":
                place.place(pixels[:1].expand(841, -1, -1, -1), place.offsets()).float().mean(0)[0]}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
for panel, (title, picture) in zip(axes, averages.items(), strict=True):
    panel.imshow(picture, cmap="gray")
    panel.set_title(title, fontsize=10)
    panel.set(xticks=[], yticks=[])
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# What a template can still tell in that blur are wide stripes: long and upright, or flat and broad. Collars and sleeves
# are gone. These are the errors of lesson 1: shirts for coats, sandals for sneakers, hardly ever a trouser for a bag. A
# filter of the convnet is not smeared, for it does not stand still: it is moved over the canvas, and finds its edge
# wherever it is.

# %% [markdown]
# ## Ask it to draw
#
# For all that lies deeper there are no weights that one could look at. But one can *ask*: begin with a gray canvas,
# compute how each pixel would have to change to make the network say "pullover" more loudly, change all a little that
# way, and repeat. This is gradient ascent: training, with the roles exchanged. The network stands still, the picture
# learns.

# %%
def draw(model, steps=40, length=1.0):
    """Return ten pictures, one a class: from mid-gray, uphill for its class."""
    pictures = torch.full((10, 1, 56, 56), 0.5)
    for _ in range(steps):
        pictures.requires_grad_()
        score = model(pictures).diagonal().sum()  # what the model gives picture k for class k, summed
        slope, = torch.autograd.grad(score, pictures)
        lengths = slope.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        pictures = (pictures + length * slope / lengths).clamp(0, 1).detach()
    return pictures


def said(model, pictures):
    """Return the class that a model takes each picture for."""
    with torch.no_grad():
        return model(pictures).argmax(1)


OTHER = {"two-full": "two-conv", "two-conv": "two-full"}
asked = torch.arange(10)
drawings = {(name, "plain"): draw(model) for name, model in models.items()}

figure, axes = plt.subplots(2, 10, figsize=(12, 3), layout="constrained")
for row, name in enumerate(models):
    for column, panel in enumerate(axes[row]):
        panel.imshow(drawings[name, "plain"][column, 0], cmap="gray")
        panel.set(xticks=[], yticks=[])
        if row == 0:
            panel.set_title(names[column], fontsize=9)
    axes[row, 0].set_ylabel(model_title(name))
    own = int((said(models[name], drawings[name, "plain"]) == asked).sum())
    print(f"the {model_title(name)} names {own} of its 10 pictures as asked")
plt.show()

# %% [markdown]
# The networks are convinced: nearly every one of these is to them a perfect garment. To you it is noise. Each picture
# is full of tiny patterns that this network happens to add up, exactly where they stand. A few pixels to the side many
# are worth nothing (exercise 3).
#
# `shiftscope.visualize` climbs the same slope with more care: before each step the picture is moved and blurred a
# little, so that only what works in more than one exact position survives. ([How that is done](../looking-inside.md).)

# %%
careful = {name: visualize(model, "class:all", class_names=names, placement=place, name=name)
           for name, model in models.items()}
class_gallery(careful["two-full"], credit=credit(data))

# %%
class_gallery(careful["two-conv"], credit=credit(data))

# %% [markdown]
# Compare with your pencil. The convnet's trouser, bag and ankle boot one would name without help; for shirt and
# pullover it draws sleeves and hems, several of them side by side. The perceptron's pictures are the stripes and clouds
# of its templates, put together.

# %% [markdown]
# ## What single neurons like

# %%
neuron_gallery(visualize(models["two-full"], "fc1:0-19", name="two-full"), credit=credit(data))

# %%
neuron_gallery(visualize(models["two-conv"], "fc1:0-19", name="two-conv"), credit=credit(data))

# %% [markdown]
# The perceptron's neurons like their own templates: for a single layer the best picture *is* the weights. The convnet's
# neurons stand behind two layers of filters and like parts: soles, slanting edges, stripes.
#
# ## Real garments beside the drawings
#
# A drawing shows what would excite a unit *most*, not what usually does. So look at real images too. For four classes:
# the convnet's drawing, the test images that excite the class most, each at its best place, and how strongly all others
# do (the triangle is the drawing).

# %%
GOAL = "class:1,6,7,8"
synthetic = visualize(models["two-conv"], GOAL, class_names=names, placement=place, name="two-conv")
near, = find_neighbors(models["two-conv"], [GOAL], data, k=6, placement=coarser(place, by_setting(9, 49)),
                        images=by_setting(150, 500), name="two-conv")
neighbors_figure(replace(synthetic, objective=near.objective, units=near.units), near, images=6)

# %% [markdown]
# Mostly the drawing lies to the right of all real images: no garment excites the class so much. It is an exaggeration,
# a caricature, and no typical member of the class. And among the garments that the network finds most like a *shirt*,
# some are none.

# %% [markdown]
# ## Dead units
#
# Some neurons are never above zero, for no garment at any place: whatever they would say, nobody ever asks them. Here
# is how often each neuron of `fc1` is active.

# %%
figure, panel = plt.subplots(figsize=(8, 3), layout="constrained")
for (name, model), line in zip(models.items(), ("-", "--"), strict=True):
    units = unit_table(model, data, placement=place, images=by_setting(300, 2_000))
    layers = [row.layer for row in units.layers]
    before = sum(row.units for row in units.layers[:layers.index("fc1")])
    active = np.sort(units.active[before:before + 100])[::-1]
    panel.plot(active, line, color=COLORS[name], label=model_title(name))
    print(f"{model_title(name)}: {(active == 0).sum()} of 100 neurons of fc1 are dead, the median one is active for "
          f"{np.median(active):.0%} of the garments")
panel.set(xlabel="neurons of fc1, most active first", ylabel="share of garments", title="How often a neuron is active")
panel.legend()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# A dead neuron costs time and memory and does nothing. Ask it to draw and it will: gradient ascent finds *some* picture
# that wakes it. So never judge a unit by its drawing alone.
#
# ## Which pixels decide?
#
# The other question is about one given garment: which of its pixels made the network say what it said? **Saliency**
# asks how the score would change if a pixel became a little brighter. **Occlusion** blots out a window and looks how
# much the score falls.

# %%
first = torch.arange(3)
canvases = place.place(data.test.gather(first), place.sample(first, seed=0))
whys = [attribute(models["two-conv"], canvases, method=method, labels=data.test.labels[first].numpy(),
                  name="two-conv", class_names=names) for method in ("saliency", "occlusion")]
attribution_figure(whys, credit=credit(data))

# %% [markdown]
# Saliency lights up pixels on the *empty* canvas, too: it says what would matter, not what did. Occlusion does what it
# says, and marks the garment.
#
# ## Ask somebody else
#
# What can a drawing tell? That *this* network responds to it. Whether it shows what garments look like is another
# matter, and there is a simple test. Show the drawings of one network to the **other** one. It learned from the same
# garments, but its weights are its own. A garment should convince both.
#
# **Guess**: how many of the ten plain drawings does the other network name as asked? How many of the careful ones?

# %%
for name, made in careful.items():
    drawings[name, "careful"] = torch.from_numpy(made.images)

# %% [markdown]
# ## The picture, and the number

# %%
figure, axes = plt.subplots(4, 10, figsize=(12, 6), layout="constrained")
right = {}
for row, kind in enumerate(("plain", "careful")):
    for step, name in enumerate(models):
        pictures, line = drawings[name, kind], axes[2 * row + step]
        own, other = said(models[name], pictures), said(models[OTHER[name]], pictures)
        right[name, kind] = int((own == asked).sum()), int((other == asked).sum())
        line[0].set_ylabel(f"{model_title(name)},\n{kind}")
        for k, panel in enumerate(line):
            panel.imshow(pictures[k, 0], cmap="gray")
            ok = int(other[k]) == k
            panel.set_title(f"{'✓' if ok else '✗'} {names[other[k]]}", fontsize=8, color="black" if ok else "0.5",
                            fontweight="bold" if ok else "normal")
            panel.set(xticks=[], yticks=[])
            if 2 * row + step == 3:
                panel.set_xlabel(names[k], fontsize=9)
figure.suptitle("Drawn for the class at the bottom; what the OTHER network says stands above each")
figure.supxlabel(f"The networks learned from {credit(data).removeprefix('Images: ')}", fontsize=8)
plt.show()

for (name, kind), (own, other) in right.items():
    print(f"{model_title(name)}, {kind}: itself names {own} of 10 as asked, the other network {other} of 10")
own, other = (sum(right[name, "plain"][who] for name in models) for who in (0, 1))
print(f"Of 20 plain drawings the networks that made them recognize {own}, the other ones {other}.")
assert own >= 16, "gradient ascent should convince the network that it climbs"
assert other <= own - 8, "the drawings would convince any network"

# %% [markdown]
# Blind guessing would name 2 of 20 as asked. The plain drawings are worth little more to anyone but their maker: they
# show what *this* set of weights adds up, not what a garment looks like. The careful ones carry over far better, and
# what carries over is what one can recognize. So a synthesis is a clue. It tells where to look; whether it is true,
# others must say: real images, and another network.
#
# Be fair, though: part of the difference is the ground. Plain drawings begin in gray, which no garment's canvas has,
# careful ones in black. Begun in black, the perceptron's plain drawings convince the convnet in 3 cases of 10
# (Fashion-MNIST), still fewer than the careful ones; the convnet's own ascent gets stuck there.
#
# ## Exercises
#
# **1. Another beginning.** Let `visualize` begin from noise, with two seeds (`start="random"`,
# `settings=SynthesisSettings(seed=1)` from `shiftscope.settings`). Are they the same pictures? Of which network more?
#
# <details><summary>Solution</summary>
#
# ```python
# from shiftscope.settings import SynthesisSettings
#
# for name, model in models.items():
#     pair = [visualize(model, "class:all", start="random", settings=SynthesisSettings(seed=seed), class_names=names,
#                       placement=place).images.reshape(10, -1) for seed in (1, 2)]
#     alike = [np.corrcoef(one, other)[0, 1] for one, other in zip(*pair, strict=True)]
#     print(f"{model_title(name)}: mean correlation {np.mean(alike):.2f}, from {min(alike):.2f} to {max(alike):.2f}")
# ```
#
# With the models of the repository the mean correlation is 0.5 for the perceptron and 0.2 for the convnet: not the same
# pictures at all. Gradient ascent finds *one* picture that excites a class, and there are many. The convnet has more of
# them, since it takes a part at any place.
#
# </details>
#
# **2. Are real garments better evidence?** Of the test images that one network names right, how many does the other one
# name right as well? Compare with the drawings.
#
# <details><summary>Solution</summary>
#
# ```python
# indices = torch.arange(500)
# real = place.place(data.test.gather(indices), place.sample(indices, seed=1)) / 255
# hits = {name: said(model, real) == data.test.labels[indices] for name, model in models.items()}
# for name, other in OTHER.items():
#     print(f"of those that the {model_title(name)} names right, the {model_title(other)} names "
#           f"{hits[other][hits[name]].float().mean():.0%} right")
# ```
#
# With the models of the repository 96 % and 84 %: right garments convince both. Of the plain drawings it was one in
# ten.
#
# </details>
#
# **3. Nudge them.** Roll the careful drawings by 1, 2, 4 and 8 pixels (`torch.roll`). How many does their own network
# still name as asked?
#
# <details><summary>Solution</summary>
#
# ```python
# for name, model in models.items():
#     for kind in ("plain", "careful"):
#         left = [int((said(model, drawings[name, kind].roll(shift, 3)) == asked).sum()) for shift in (0, 1, 2, 4, 8)]
#         print(f"{model_title(name)}, {kind}, rolled by 0, 1, 2, 4, 8 pixels: {left} of 10")
# ```
#
# On Fashion-MNIST the perceptron's plain drawings last 10, 9, 6, 3, 2 times, the convnet's 10, 10, 10, 7, 4 times; of
# the careful ones at least 8 of 10 survive all of it. That is what moving them about while they were drawn was for.
#
# </details>
