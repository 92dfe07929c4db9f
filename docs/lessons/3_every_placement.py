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
# # 3 Every placement, and the à-trous identity
#
# A test accuracy is taken at one place an image. What would the network have said one pixel further on? There are 841
# places for a garment of 28 x 28 pixels on a canvas of 56 x 56, so one can simply ask. For ten thousand images that is
# 8.4 million questions, twenty minutes of computing at best. Or seconds: for all these canvases overlap, and a network
# without padding answers all of them in a *single pass* over a slightly larger picture, exactly. This lesson does both,
# and shows by hand why.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from lesson_setting import COLORS, by_setting, choose_data, credit, trained_model
from torch import nn

import shiftscope
from shiftscope.dense import NotDense, build_dense
from shiftscope.reporting import accuracy_map, model_title, phase_tables

data = choose_data()
place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
models = {name: trained_model(name, data) for name in COLORS}  # both learned from moved garments
print(f"{place.count} places; {data.name}")

# %% [markdown]
# ## One garment, 841 answers
#
# We take one test image, lay it at every place, and ask both networks. Nothing clever yet: 841 canvases, 841 answers.
#
# **Guess**: how many different classes will the convnet name for this one garment?

# %%
WHICH = 42
image = data.test.gather(torch.tensor([WHICH]))  # (1, 1, 28, 28), uint8
true = int(data.test.labels[WHICH])
offsets = place.offsets()  # (841, 2): how far down and how far right, row by row
canvases = place.place(image.expand(841, -1, -1, -1), offsets)  # (841, 1, 56, 56), uint8
with torch.no_grad():
    outputs = {name: model(canvases / 255).softmax(1).view(29, 29, 10) for name, model in models.items()}

figure, axes = plt.subplots(1, 5, figsize=(12, 3.1), layout="constrained")
axes[0].imshow(image[0, 0], cmap="gray")
axes[0].set_title(data.class_names[true], fontsize=10)
axes[0].set(xticks=[], yticks=[])
for column, (name, shares) in enumerate(outputs.items()):
    said, sure = shares.argmax(2), shares[..., true]
    answer, confidence = axes[1 + 2 * column], axes[2 + 2 * column]
    answer.imshow(said, cmap="tab10", vmin=-0.5, vmax=9.5)
    for row in range(2, 29, 6):
        for place_right in range(2, 29, 6):
            answer.text(place_right, row, int(said[row, place_right]), ha="center", va="center", fontsize=8,
                        color="white", fontweight="bold")
    answer.set_title(f"{model_title(name)}: what it says", fontsize=10)
    scale = confidence.imshow(sure, cmap="Blues", vmin=0, vmax=1)
    confidence.set_title("how sure of the true class", fontsize=10)
    answer.set(xlabel="pixels right", ylabel="pixels down")
    kinds = [f"{label} {data.class_names[label]} ({(said == label).float().mean():.0%})" for label in said.unique()]
    print(f"{model_title(name)}: {', '.join(kinds)}")
figure.colorbar(scale, ax=axes[-1], shrink=0.7)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# A cell of a map is a place: its row says how far down the garment's corner lies, its column how far right. A network
# that did not care would have maps of one color. The numbers are classes.

# %% [markdown]
# ## Many garments: four ways to sum up
#
# `shiftscope.audit` asks about every image at every place and keeps all answers. From them we compute by hand what they
# say:
#
# - **accuracy map**: the share of images that are right, for each place; its mean is the **mean accuracy**;
# - **worst case**: the share of images that are right at *every* place;
# - **consistency**: the probability that two places drawn at random get the same answer, right or wrong;
# - **unanimity**: the share of images with the same answer at every place.
#
# **Guess**: a network is right at 85 of 100 places on average. For how many of 100 garments is it right everywhere?

# %%
found = {name: shiftscope.audit(model, data, placement=place, limit=by_setting(200, 4_000), name=name, trained="random")
         for name, model in models.items()}
for name, audit in found.items():
    predictions, labels = audit.predictions, audit.labels[:, None]  # (images, 841) and (images, 1)
    right = predictions == labels
    shares = np.stack([(predictions == label).mean(axis=1) for label in range(10)])  # (10, images)
    by_hand = {"mean_accuracy": right.mean(), "worst_case_accuracy": right.all(axis=1).mean(),
               "consistency": (shares**2).sum(axis=0).mean(),
               "unanimity": (predictions == predictions[:, :1]).all(axis=1).mean()}
    for figure_name, value in by_hand.items():
        assert abs(value - getattr(audit, figure_name)) < 1e-9
    told = ", ".join(f"{key.replace('_', ' ')} {value:.1%}" for key, value in by_hand.items())
    print(f"{model_title(name)}: {told}")
    print(f"   {audit.seconds:.1f} s for {audit.images * audit.placements:,} answers ({audit.engine} engine)")

# %%
accuracy_map(list(found.values()))

# %% [markdown]
# The map is nearly flat: on average the place hardly matters. But the average hides that it matters for *single*
# garments: the worst case lies far below the mean. The networks are right at most places and wrong at some, at *other*
# places for each garment.
#
# And how did that take seconds? That is the rest of this lesson.

# %% [markdown]
# ## The trick, in one dimension and by hand
#
# A toy network, in NumPy. Its window is 9 numbers wide: a filter of two taps, the maximum of each pair (stride 2),
# another filter of two taps. A **field** of 12 numbers holds four such windows, at 0, 1, 2 and 3.

# %%
def correlate(x, taps, hole=1):
    """Slide a filter over x; its taps stand `hole` apart."""
    reach = hole * (len(taps) - 1)
    return sum(tap * x[hole * k:len(x) - reach + hole * k] for k, tap in enumerate(taps))


def pool(x, stride, hole=1):
    """The larger of two numbers that stand `hole` apart, at every `stride`-th place."""
    return np.maximum(x[:-hole], x[hole:])[::stride]


first, second = np.array([1, -1]), np.array([1, 1])


def network(window):
    return correlate(pool(correlate(window, first), stride=2), second)  # 9 -> 8 -> 4 -> 3 numbers


field = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])
for start in range(4):
    print(f"window {start}: {network(field[start:start + 9])}")

# %% [markdown]
# Four runs of the network. Much of the work was done twice: the first filter does not care which window it is in, so it
# may run over the whole field once. The stride is the difficulty. Window 0 keeps the maxima at places 0, 2, 4, 6;
# window 1 keeps those at 1, 3, 5, 7. No single pass with stride 2 serves both.
#
# **So drop nothing.** Pool with stride 1 over the whole field, and every window's maxima are there, only *two places
# apart*. The filter that follows must read its neighbors two places apart: with a hole between its taps, in French *à
# trous*.

# %%
def twin(field):
    return correlate(pool(correlate(field, first), stride=1), second, hole=2)  # 12 -> 11 -> 10 -> 8 numbers


print(f"twin of the field: {twin(field)}")
for start in range(4):
    assert np.array_equal(network(field[start:start + 9]), twin(field)[start:start + 5:2])

# %%
steps = {"field": field, "filter": correlate(field, first), "maximum,\nstride 1": pool(correlate(field, first), 1),
         "filter with\na hole": twin(field)}
kept = {0: [range(9), range(8), range(0, 8, 2), range(0, 6, 2)], 1: [range(1, 10), range(1, 9), range(1, 9, 2),
                                                                      range(1, 7, 2)]}
figure, panels = plt.subplots(1, 2, figsize=(12, 2.9), layout="constrained", sharey=True)
for panel, (start, cells) in zip(panels, kept.items(), strict=True):
    for row, (values, used) in enumerate(zip(steps.values(), cells, strict=True)):
        for column, value in enumerate(values):
            color = COLORS["two-conv"] if column in used else "0.93"
            panel.add_patch(plt.Rectangle((column, -row), 0.94, 0.8, color=color))
            panel.text(column + 0.47, 0.4 - row, f"{value:.0f}", ha="center", va="center", fontsize=9,
                       color="white" if column in used else "0.3")
    panel.set(xlim=(-0.1, 12.1), ylim=(-3.2, 0.9), xticks=[], yticks=[0.4 - row for row in range(4)],
              yticklabels=list(steps), title=f"what window {start} uses of it")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
plt.show()

# %% [markdown]
# The rule, for any number of layers:
#
# > every stride becomes 1, and every later filter and pool is spread by the product of the strides before it.
#
# More on it, and who found it, on the page [the à-trous identity](../identity.md).

# %% [markdown]
# ## The whole convnet, by hand
#
# The same with the convnet: two pools of stride 2, so the second filter and pool are spread by 2, the fully connected
# layers by 4. A fully connected layer that reads a map of 11 x 11 is a filter of 11 x 11. The 841 canvases are the
# windows of one field of 84 x 84 with the garment in the middle; moving the window *up* moves the garment *down*, so
# the last map comes out upside down and is turned.

# %%
net = models["two-conv"].double()  # 15 digits, so that nothing can hide behind rounding


def convnet_twin(field):
    """Logarithms of the probabilities (10, 29, 29) at all places, from one field (1, 1, 84, 84)."""
    x = F.conv2d(net.normalize(field), net.conv1.weight, net.conv1.bias)  # 80 x 80
    x = F.max_pool2d(x, 2, stride=1).relu()  # 79
    x = F.conv2d(x, net.conv2.weight, net.conv2.bias, dilation=2, groups=6)  # 71
    x = F.max_pool2d(x, 2, stride=1, dilation=2).relu()  # 69
    x = F.conv2d(x, net.fc1.weight.view(100, 30, 11, 11), net.fc1.bias, dilation=4).relu()  # 29
    x = F.conv2d(x, net.fc2.weight.view(10, 100, 1, 1), net.fc2.bias)  # 29
    return x.log_softmax(1)[0].flip(1, 2)


with torch.no_grad():
    begun = time.perf_counter()
    one_by_one = net(canvases.double() / 255).T.view(10, 29, 29)
    between = time.perf_counter()
    at_once = convnet_twin(place.field(image).double() / 255)
    done = time.perf_counter()
apart = float((one_by_one - at_once).abs().max())
print(f"841 canvases one by one: {between - begun:.2f} s; one field: {done - between:.3f} s, "
      f"{(between - begun) / (done - between):.0f} times as fast")
print(f"largest difference between the two: {apart:.0e}")
assert apart < 1e-12 * float(one_by_one.abs().max())

# %% [markdown]
# Eight lines, the same answers. You need not write them for your own network: `build_dense` reads any network's graph
# and makes its twin, and `shiftscope.audit` does so by itself.

# %%
engine = build_dense(net, place, data.shape)
with torch.no_grad():
    logits = engine.logits(image)[0]  # (841, 10), before the softmax
apart = (logits.log_softmax(1).T.view(10, 29, 29) - at_once).abs().max()
print(f"build_dense and by hand differ by {float(apart):.0e}")
net = net.float()

# %% [markdown]
# ## Where it ends: padding
#
# All of this stands on one sentence: *a layer asks the same question at every place.* A layer that pads does not. It
# puts zeros around its map, so cells at the rim see something that depends on where the window ends. In the toy: window
# 1, run by itself and cut out of the field, for one, two and three padded filters one after the other.

# %%
signal = np.random.default_rng(0).normal(size=24)


def padded(x, layers):
    for _ in range(layers):
        x = correlate(np.pad(x, 1), np.array([1.0, -2.0, 1.0]) / 2)  # as long as before
    return x


figure, axes = plt.subplots(1, 3, figsize=(12, 2.4), layout="constrained", sharey=True)
for layers, panel in enumerate(axes, start=1):
    error = np.abs(padded(signal[6:18], layers) - padded(signal, layers)[6:18])
    panel.bar(range(12), error, color=[COLORS["two-full"] if wrong else "0.7" for wrong in error > 1e-12])
    panel.set(title=f"{layers} padded layer{'s' * (layers > 1)}: {(error > 1e-12).sum()} of 12 cells differ",
              xlabel="cell of the window", xlim=(-0.6, 11.6), xticks=range(12))
axes[0].set_ylabel("difference")
plt.show()

# %% [markdown]
# With each layer the damage moves one cell further in. Shiftscope does not guess: a network for which there is no exact
# twin is refused, with the name of the layer (here "2", the second convolution), and the audit falls back to asking 841
# times.

# %%
padding = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.MaxPool2d(2),
                        nn.Flatten(), nn.Linear(4 * 28 * 28, 10))
try:
    build_dense(padding, place, data.shape)
except NotDense as refusal:
    print(refusal)

# %% [markdown]
# ## What a stride does to the answer
#
# The twin shows why a network with strides is not indifferent to place even if it only looks for parts and counts them.
# Window 0 and window 1 use *different* maxima. Only after 4 pixels (2 times 2) does the convnet see the same numbers
# again, moved by one cell of its last map.
#
# To see this alone, we leave out the fully connected layers and average each channel of the last map over all places:
# what is left counts how much of each part there is. The canvas is larger here, so that nothing comes near the rim. A
# network without strides would draw horizontal lines.

# %%
wide = shiftscope.Placement(image=(28, 28), canvas=(84, 84))
along = torch.stack((torch.full((17,), 28), torch.arange(20, 37)), dim=1)  # 16 steps of one pixel to the right
rolled = wide.place(image.expand(len(along), -1, -1, -1), along) / 255
with torch.no_grad():
    x = F.max_pool2d(net.conv1(net.normalize(rolled)), 2).relu()
    counts = F.max_pool2d(net.conv2(x), 2).relu().mean((2, 3))  # (17, 30)
counts = counts / counts.mean(0).clamp_min(1e-6) * 100
liveliest = (counts[2:] - counts[:-2]).abs().amax(0).argsort(descending=True)[:4]

figure, panel = plt.subplots(figsize=(8, 3.2), layout="constrained")
for channel, marker in zip(liveliest.tolist(), "osD^", strict=True):
    panel.plot(counts[:, channel], marker=marker, markersize=5, label=f"channel {channel}")
panel.set(xticks=range(0, 17, 4), xlabel="pixels moved to the right", ylabel="activity, % of its mean",
          title="Four channels: they repeat every 4 pixels")
panel.grid(axis="x")
figure.legend(loc="outside right center", fontsize=8)
figure.supxlabel(credit(data), fontsize=8)
plt.show()
assert torch.allclose(counts[:-4], counts[4:], rtol=1e-3, atol=1e-2)

# %% [markdown]
# This is **aliasing**: patterns finer than the stride are seen or missed depending on the remainder of the offset.
# `audit.by_phase` holds the accuracy for each remainder. On average over many images it differs little, for what one
# image loses at a remainder another one gains. The answers of a single image change all the same.

# %%
phase_tables(found["two-conv"])

# %% [markdown]
# ## The picture, and the number
#
# At how many of its 841 places is a garment recognized? If the place did not matter, each garment would be recognized
# everywhere or nowhere, and all bars but the two at the ends would be empty.

# %%
figure, panel = plt.subplots(figsize=(8, 4.2), layout="constrained")
edges = [0, 0.5, 84, 168, 252, 336, 420, 504, 588, 672, 756, 840.5, 841]
names = ["none", *(f"up to {10 * part}%" for part in range(1, 10)), "nearly all", "all"]
for shift, (name, audit) in zip((-0.2, 0.2), found.items(), strict=True):
    shares = np.histogram(audit.correct_counts, edges)[0] / audit.images
    panel.bar(np.arange(12) + shift, shares, 0.4, color=COLORS[name], hatch="//" if name == "two-full" else "",
              edgecolor="white", label=f"{model_title(name)}: mean accuracy {audit.mean_accuracy:.0%}, "
              f"worst case {audit.worst_case_accuracy:.0%}")
panel.set(xticks=range(12), ylabel="share of garments", title="At how many of the 841 places a garment is recognized")
panel.set_xticklabels(names, rotation=35, ha="right", fontsize=8)
panel.legend()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

changed = 1 - found["two-conv"].unanimity
print(f"The convnet changes its mind about {changed:.0%} of the garments when they move.")
assert changed > 0.1, "the place would hardly matter to this network"
assert found["two-conv"].worst_case_accuracy < found["two-conv"].mean_accuracy - 0.05

# %% [markdown]
# ## Exercises
#
# **1. Holes of three.** Change the toy: let the pool take the maximum of two neighbors at every *third* place. Which
# windows are there, how large is the hole, and does the identity hold?
#
# <details><summary>Solution</summary>
#
# Every later layer is spread by 3. A window of 9 gives 8, then 3 (places 0, 3 and 6), then 2 numbers.
#
# ```python
# def network_3(window):
#     return correlate(pool(correlate(window, first), stride=3), second)
#
# def twin_3(field):
#     return correlate(pool(correlate(field, first), stride=1), second, hole=3)
#
# for start in range(4):
#     assert np.array_equal(network_3(field[start:start + 9]), twin_3(field)[start:start + 4:3])
# print("holds at all four windows")
# ```
#
# </details>
#
# **2. Why not draw places at random?** Published tests often try a handful of random places an image. Draw 1, 2, 5, 20
# and 100 places an image from `found["two-conv"].predictions` and compute the worst case over those alone. How many are
# enough?
#
# <details><summary>Solution</summary>
#
# ```python
# right = found["two-conv"].predictions == found["two-conv"].labels[:, None]
# rng = np.random.default_rng(0)
# for count in (1, 2, 5, 20, 100, 841):
#     chosen = rng.permuted(np.tile(np.arange(841), (len(right), 1)), axis=1)[:, :count]
#     worst = np.take_along_axis(right, chosen, axis=1).all(axis=1).mean()
#     print(f"{count:3d} places: right at all of them {worst:.1%}")
# ```
#
# Even 100 places are not enough: with the convnet of the repository some 5 points too many garments pass, and with the
# 2 places of a usual test 15 points. A worst case is not an average; what is rare is missed by sampling. That is why
# the audit samples nothing.
#
# </details>
#
# **3. The most fickle garment.** Which image is given the largest number of different classes by the convnet? Draw it
# beside its map of answers.
#
# <details><summary>Solution</summary>
#
# ```python
# answers = found["two-conv"].predictions
# kinds = np.array([len(np.unique(row)) for row in answers])
# fickle = int(kinds.argmax())
# figure, axes = plt.subplots(1, 2, figsize=(6, 3))
# axes[0].imshow(data.test.gather(torch.tensor([fickle]))[0, 0], cmap="gray")
# axes[1].imshow(answers[fickle].reshape(29, 29), cmap="tab10", vmin=-0.5, vmax=9.5)
# axes[0].set_title(f"image {fickle}, a {data.class_names[found['two-conv'].labels[fickle]]}: {kinds[fickle]} classes")
# plt.show()
# ```
#
# In the full setting a bag in the shape of a dog wins, with eight classes. Otherwise it is mostly garments between two
# classes. Look at single cells and stripes in the maps: neighboring places that differ by a pixel, the strides at
# work.
#
# </details>
