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
# Test accuracy is usually measured at one position per image. The prediction may differ at the next pixel. A garment of
# 28 x 28 pixels has 841 positions on a canvas of 56 x 56, so all of them can be evaluated. For ten thousand images
# these are 8.4 million predictions, at least twenty minutes of computation. There is a faster way: the canvases
# overlap, and a network without padding can compute all predictions in a *single pass* over a slightly larger image,
# exactly. This lesson uses both methods and shows why they agree.
#
# **Time:** 60 min reading, 2 min computation, 30 min exercises.
#
# **Goals:**
#
# - Read a map of predictions and an accuracy map.
# - Compute worst-case accuracy and consistency.
# - Apply the à-trous identity.
# - Find where it fails.
#
# **Prerequisites:** lesson 1; convolution and max pooling.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from lesson_setting import COLORS, by_setting, choose_data, credit, trained_model
from torch import nn

import shiftscope
from shiftscope.dense import build_dense
from shiftscope.reporting import accuracy_map, model_title, phase_tables

# %%
data = choose_data()
placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
# both trained on random placements
models = {name: trained_model(name, data) for name in COLORS}
print(f"{placement.count} placements; {data.name}")

# %% [markdown]
# ## One garment at 841 positions
#
# Place one test image at every position and evaluate both networks on the 841 canvases.
#
# **Make a prediction**: how many different classes will the convnet predict for this garment?

# %%
INDEX = 42
# (1, 1, 28, 28), uint8
image = data.test.gather(torch.tensor([INDEX]))
true = int(data.test.labels[INDEX])
# (841, 2): vertical and horizontal offset, row by row
offsets = placement.offsets()
# (841, 1, 56, 56), uint8
canvases = placement.place(image.expand(841, -1, -1, -1), offsets)
with torch.no_grad():
    outputs = {
        name: model(canvases / 255).softmax(1).view(29, 29, 10)
        for name, model in models.items()
    }
for name, probabilities in outputs.items():
    predicted = probabilities.argmax(2)
    fractions = [
        f"{label} {data.class_names[label]} "
        f"({(predicted == label).float().mean():.0%})"
        for label in predicted.unique()
    ]
    print(f"{model_title(name)}: {', '.join(fractions)}")

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 5, figsize=(12, 3.1), layout="constrained")
axes[0].imshow(image[0, 0], cmap="gray")
axes[0].set_title(data.class_names[true], fontsize=10)
axes[0].set(xticks=[], yticks=[])
for column, (name, probabilities) in enumerate(outputs.items()):
    predicted = probabilities.argmax(2)
    labels, confidence = axes[1 + 2 * column], axes[2 + 2 * column]
    labels.imshow(predicted, cmap="tab10", vmin=-0.5, vmax=9.5)
    for row in range(2, 29, 6):
        for dx in range(2, 29, 6):
            labels.text(
                dx,
                row,
                int(predicted[row, dx]),
                ha="center",
                va="center",
                fontsize=8,
                color="white",
                fontweight="bold",
            )
    labels.set_title(f"{model_title(name)}: prediction", fontsize=10)
    scale = confidence.imshow(
        probabilities[..., true], cmap="Blues", vmin=0, vmax=1
    )
    confidence.set_title("probability of the true class", fontsize=10)
    labels.set(xlabel="horizontal offset", ylabel="vertical offset")
figure.colorbar(scale, ax=axes[-1], shrink=0.7)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# Each cell of a map is a position: its row is the vertical offset of the garment, and its column the horizontal offset.
# The map of a translation-invariant network has one color. The numbers are classes.

# %% [markdown]
# ## Four metrics
#
# `shiftscope.audit` evaluates every image at every position and stores all predictions. From these, compute four
# metrics:
#
# - **accuracy map**: the fraction of images classified correctly at each position; its mean is the **mean accuracy**;
# - **worst-case accuracy**: the fraction of images classified correctly at *every* position;
# - **consistency**: the probability that two random positions of an image get the same label, correct or incorrect;
# - **unanimity**: the fraction of images with the same label at every position.
#
# **Make a prediction**: the mean accuracy of a network is 85 %. What is its worst-case accuracy?

# %%
audits = {
    name: shiftscope.audit(
        model,
        data,
        placement=placement,
        limit=by_setting(200, 4_000),
        name=name,
        trained="random",
    )
    for name, model in models.items()
}
for name, audit in audits.items():
    # (images, 841) and (images, 1)
    predictions, labels = audit.predictions, audit.labels[:, None]
    correct = predictions == labels
    # (10, images)
    fractions = np.stack(
        [(predictions == label).mean(axis=1) for label in range(10)]
    )
    metrics = {
        "mean_accuracy": correct.mean(),
        "worst_case_accuracy": correct.all(axis=1).mean(),
        "consistency": (fractions**2).sum(axis=0).mean(),
        "unanimity": (predictions == predictions[:, :1]).all(axis=1).mean(),
    }
    for metric, value in metrics.items():
        assert abs(value - getattr(audit, metric)) < 1e-9
    text = ", ".join(
        f"{metric.replace('_', ' ')} {value:.1%}"
        for metric, value in metrics.items()
    )
    print(f"{model_title(name)}: {text}")
    print(
        f"   {audit.seconds:.1f} s for {audit.images * audit.placements:,} "
        f"predictions ({audit.engine} engine)"
    )

# %%
accuracy_map(list(audits.values()))

# %% [markdown]
# The maps are nearly uniform: the accuracy varies by a few points, and is lowest at the edges for the convnet. But
# predictions for *single* garments depend on the position much more: the worst-case accuracy of the convnet is 24
# points below the mean, that of the perceptron 37 points. Most garments are classified correctly at most positions, and
# the positions of the errors differ between garments.
#
# The rest of this lesson explains how an audit of 3.4 million predictions can take seconds.

# %% [markdown]
# ## The à-trous identity in one dimension
#
# Consider a small network in NumPy. Its window has 9 numbers. It consists of a filter with two taps, the maximum of
# each pair (stride 2), and another filter with two taps. A **field** of 12 numbers contains four such windows, which
# start at 0, 1, 2 and 3.

# %%
def correlate(x, taps, dilation=1):
    """Apply a filter to x; its taps are `dilation` positions apart."""
    reach = dilation * (len(taps) - 1)
    return sum(
        tap * x[dilation * k : len(x) - reach + dilation * k]
        for k, tap in enumerate(taps)
    )


def pool(x, stride, dilation=1):
    """Return the maximum of two numbers `dilation` positions apart, at every
    `stride`-th position.
    """
    return np.maximum(x[:-dilation], x[dilation:])[::stride]


first, second = np.array([1, -1]), np.array([1, 1])


def network(window):
    # from 9 to 8, 4 and 3 numbers
    return correlate(pool(correlate(window, first), stride=2), second)


field = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8])
for start in range(4):
    print(f"window {start}: {network(field[start : start + 9])}")

# %% [markdown]
# These are four runs of the network, which repeat much of the work. The first filter computes the same function in
# every window, so it can run once over the whole field. The stride is the difficulty: window 0 keeps the maxima at
# positions 0, 2, 4, 6, and window 1 those at 1, 3, 5, 7. No single pass with stride 2 computes both.
#
# **The solution is to keep all positions.** After pooling with stride 1 over the whole field, the maxima of every
# window are available, *two positions apart*. The next filter must read inputs two positions apart: it has a hole
# between its taps, in French *à trous*.

# %%
def dense_network(field):
    # from 12 to 11, 10 and 8 numbers
    return correlate(pool(correlate(field, first), stride=1), second, dilation=2)


print(f"dense network: {dense_network(field)}")
for start in range(4):
    assert np.array_equal(
        network(field[start : start + 9]),
        dense_network(field)[start : start + 5 : 2],
    )

# %% tags=["hide-input"]
steps = {
    "field": field,
    "filter": correlate(field, first),
    "maximum,\nstride 1": pool(correlate(field, first), 1),
    "dilated\nfilter": dense_network(field),
}
kept = {
    0: [range(9), range(8), range(0, 8, 2), range(0, 6, 2)],
    1: [range(1, 10), range(1, 9), range(1, 9, 2), range(1, 7, 2)],
}
figure, panels = plt.subplots(
    1, 2, figsize=(12, 2.9), layout="constrained", sharey=True
)
for panel, (start, cells) in zip(panels, kept.items(), strict=True):
    for row, (values, used) in enumerate(zip(steps.values(), cells, strict=True)):
        for column, value in enumerate(values):
            color = COLORS["two-conv"] if column in used else "0.93"
            panel.add_patch(plt.Rectangle((column, -row), 0.94, 0.8, color=color))
            panel.text(
                column + 0.47,
                0.4 - row,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if column in used else "0.3",
            )
    panel.set(
        xlim=(-0.1, 12.1),
        ylim=(-3.2, 0.9),
        xticks=[],
        yticks=[0.4 - row for row in range(4)],
        yticklabels=list(steps),
        title=f"values used by window {start}",
    )
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
plt.show()

# %% [markdown]
# The general rule, for any number of layers:
#
# > Every stride becomes 1, and every later filter and pool is dilated by the product of the strides before it.
#
# For details and references, see [the à-trous identity](../identity.md).

# %% [markdown]
# ## The dense version of the convnet
#
# The same method applies to the convnet. It has two pools of stride 2, so the second filter and pool are dilated by 2
# and the fully connected layers by 4. A fully connected layer on a map of 11 x 11 is a filter of 11 x 11. The 841
# canvases are the windows of one field of 84 x 84 with the garment in the middle. Moving the window *up* moves the
# garment *down*, so the last map is flipped.

# %%
# float64, so that rounding errors are small
net = models["two-conv"].double()


def dense_convnet(field):
    """Return the log-probabilities (10, 29, 29) at all positions, from one field
    (1, 1, 84, 84).
    """
    # to 80 x 80
    x = F.conv2d(net.normalize(field), net.conv1.weight, net.conv1.bias)
    # to 79 x 79
    x = F.max_pool2d(x, 2, stride=1).relu()
    # to 71 x 71
    x = F.conv2d(x, net.conv2.weight, net.conv2.bias, dilation=2, groups=6)
    # to 69 x 69
    x = F.max_pool2d(x, 2, stride=1, dilation=2).relu()
    # to 29 x 29, one value per position
    x = F.conv2d(
        x, net.fc1.weight.view(100, 30, 11, 11), net.fc1.bias, dilation=4
    ).relu()
    x = F.conv2d(x, net.fc2.weight.view(10, 100, 1, 1), net.fc2.bias)
    return x.log_softmax(1)[0].flip(1, 2)


with torch.no_grad():
    start = time.perf_counter()
    one_by_one = net(canvases.double() / 255).T.view(10, 29, 29)
    between = time.perf_counter()
    dense = dense_convnet(placement.field(image).double() / 255)
    end = time.perf_counter()
difference = float((one_by_one - dense).abs().max())
print(
    f"841 canvases separately: {between - start:.2f} s; one field: "
    f"{end - between:.3f} s, "
    f"{(between - start) / (end - between):.0f} times as fast"
)
print(f"largest difference: {difference:.0e}")
assert difference < 1e-12 * float(one_by_one.abs().max())

# %% [markdown]
# The predictions are identical. For other networks, `build_dense` creates the dense version from the graph of the
# network, and `shiftscope.audit` calls it automatically.

# %%
engine = build_dense(net, placement, data.shape)
with torch.no_grad():
    # (841, 10) logits, before the softmax
    logits = engine.logits(image)[0]
difference = (logits.log_softmax(1).T.view(10, 29, 29) - dense).abs().max()
print(f"difference of build_dense and the manual version: {float(difference):.0e}")
net = net.float()

# %% [markdown]
# ## Limitation: padding
#
# The identity requires that *a layer computes the same function at every position*. A layer with padding does not: it
# adds zeros around its map, so cells near the border depend on where the window ends. The next cell shows this in one
# dimension. It compares window 1, processed separately, with the same window of the field, for one, two and three
# successive padded filters.

# %%
signal = np.random.default_rng(0).normal(size=24)


def padded(x, layers):
    for _ in range(layers):
        # zeros on both sides keep the length
        x = correlate(np.pad(x, 1), np.array([1.0, -2.0, 1.0]) / 2)
    return x


errors = [
    np.abs(padded(signal[6:18], layers) - padded(signal, layers)[6:18])
    for layers in (1, 2, 3)
]

# %% tags=["hide-input"]
figure, axes = plt.subplots(
    1, 3, figsize=(12, 2.4), layout="constrained", sharey=True
)
for layers, (panel, error) in enumerate(zip(axes, errors, strict=True), start=1):
    panel.bar(
        range(12),
        error,
        color=[
            COLORS["two-full"] if differs else "0.7" for differs in error > 1e-12
        ],
    )
    panel.set(
        title=f"padded layers: {layers}; "
        f"cells that differ: {(error > 1e-12).sum()} of 12",
        xlabel="cell of the window",
        xlim=(-0.6, 11.6),
        xticks=range(12),
    )
axes[0].set_ylabel("difference")
plt.show()

# %% [markdown]
# With each layer, the affected region grows by one cell. But if the garment is far from a border, the rows there are
# those of the empty canvas, for many positions. `build_dense` therefore stores each *distinct* row and column once, and
# treats rows that read padding separately. (The documentation, "The à-trous identity", shows how to count them.) The
# result is exact again. In deep networks nearly every row touches a border, so only the first layers are shared.

# %%
padding = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(4, 4, 3, padding=1),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(4 * 28 * 28, 10),
)
with torch.no_grad():
    separate = padding(canvases / 255)
shared = build_dense(padding, placement, data.shape).logits(image)[0]
difference = float((shared - separate).abs().max())
print(f"largest difference of the logits: {difference:.0e}")
assert torch.allclose(shared, separate, atol=1e-4)

# %% [markdown]
# ## The effect of strides
#
# The dense version also shows why a network with strides is not translation-invariant, even if it only detects parts
# and counts them. Window 0 and window 1 use *different* maxima. Only after a shift of 4 pixels (2 times 2) does the
# convnet compute the same numbers again, shifted by one cell of its last map.
#
# To isolate this effect, omit the fully connected layers and average each channel of the last map over all positions.
# The result measures how often each part occurs. A larger canvas keeps the garment away from the border. For a network
# without strides, the lines would be horizontal.

# %%
wide = shiftscope.Placement(image=(28, 28), canvas=(84, 84))
# 16 steps of one pixel to the right
along = torch.stack((torch.full((17,), 28), torch.arange(20, 37)), dim=1)
rolled = wide.place(image.expand(len(along), -1, -1, -1), along) / 255
with torch.no_grad():
    x = F.max_pool2d(net.conv1(net.normalize(rolled)), 2).relu()
    # (17, 30)
    counts = F.max_pool2d(net.conv2(x), 2).relu().mean((2, 3))
counts = counts / counts.mean(0).clamp_min(1e-6) * 100
most_variable = (
    (counts[2:] - counts[:-2]).abs().amax(0).argsort(descending=True)[:4]
)
assert torch.allclose(counts[:-4], counts[4:], rtol=1e-3, atol=1e-2)

# %% tags=["hide-input"]
figure, panel = plt.subplots(figsize=(8, 3.2), layout="constrained")
for channel, marker in zip(most_variable.tolist(), "osD^", strict=True):
    panel.plot(
        counts[:, channel], marker=marker, markersize=5, label=f"channel {channel}"
    )
panel.set(
    xticks=range(0, 17, 4),
    xlabel="shift to the right, pixels",
    ylabel="mean activation, % of its average",
    title="The activations of four channels repeat every 4 pixels",
)
panel.grid(axis="x")
figure.legend(loc="outside right center", fontsize=8)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# This is **aliasing**: patterns finer than the stride are detected or missed depending on the offset modulo the stride.
# `audit.by_phase` contains the accuracy for each remainder. On average over many images it differs little, because
# images that lose at one remainder are balanced by images that gain. But the predictions for single images change.

# %%
phase_tables(audits["two-conv"])

# %% [markdown]
# ## Summary
#
# At how many of its 841 positions is a garment classified correctly? For a translation-invariant network, each garment
# would be correct at all positions or at none, and only the first and the last bar would be non-zero.

# %% tags=["hide-input"]
figure, panel = plt.subplots(figsize=(8, 4.2), layout="constrained")
edges = [0, 0.5, 84, 168, 252, 336, 420, 504, 588, 672, 756, 840.5, 841]
names = [
    "none",
    *(f"up to {10 * part}%" for part in range(1, 10)),
    "nearly all",
    "all",
]
for shift, (name, audit) in zip((-0.2, 0.2), audits.items(), strict=True):
    fractions = np.histogram(audit.correct_counts, edges)[0] / audit.images
    panel.bar(
        np.arange(12) + shift,
        fractions,
        0.4,
        color=COLORS[name],
        hatch="//" if name == "two-full" else "",
        edgecolor="white",
        label=f"{model_title(name)}: mean accuracy {audit.mean_accuracy:.0%}, "
        f"worst case {audit.worst_case_accuracy:.0%}",
    )
panel.set(
    xticks=range(12),
    ylabel="fraction of garments",
    title="Fraction of the 841 positions classified correctly",
)
panel.set_xticklabels(names, rotation=35, ha="right", fontsize=8)
panel.legend()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %%
inconsistent = 1 - audits["two-conv"].unanimity
print(
    f"For {inconsistent:.0%} of the garments, the prediction of the convnet "
    "depends on the position."
)
assert inconsistent > 0.1, "the predictions hardly depend on the position"
assert (
    audits["two-conv"].worst_case_accuracy < audits["two-conv"].mean_accuracy - 0.05
)

# %% [markdown]
# ## Exercises
#
# **1. A stride of three.** Change the one-dimensional network: let the pool take the maximum of two neighbors at every
# *third* position. Which windows exist, what is the dilation, and does the identity hold?
#
# **2. Random positions.** Published evaluations often use a few random positions per image. Sample 1, 2, 5, 20 and 100
# positions per image from `audits["two-conv"].predictions` and compute the worst-case accuracy over these positions.
# How many are enough?
#
# **3. The least consistent garment.** For which image does the convnet predict the largest number of different classes?
# Plot it next to the map of its predictions.
#
# [Solutions](3_solutions.py)
