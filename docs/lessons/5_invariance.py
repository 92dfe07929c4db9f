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
# # 5 Invariance by construction
#
# A network can learn approximate translation invariance from randomly placed training images. It can also be
# *constructed* to be exactly invariant, for any weights. This lesson builds such networks from equivariant layers, a
# mean or maximum over all positions, and strides that depend on the content. It then compares the networks with those
# of lesson 1.
#
# **Time:** 50 min reading, 1 min computation, 30 min exercises.
#
# **Goals:**
#
# - Build an invariant network.
# - Describe what a stride does to equivariance.
# - Measure drift, and compare it with the spread between images.
#
# **Prerequisites:** lessons 3 and 4.

# %%
import matplotlib.pyplot as plt
import torch
from lesson_setting import by_setting, choose_data, credit, trained_model

import shiftscope
from shiftscope.layers import Scattering2d
from shiftscope.layers.polyphase import components, strongest_phase
from shiftscope.layers.scattering import morlet_bank
from shiftscope.models.repair import repair
from shiftscope.reporting.figure_style import BLUE, MUTED, VERMILLION

# %%
data = choose_data()
placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
print(credit(data))

# %% [markdown]
# ## 1. Scattering: equivariant filters, then a global mean
#
# An invariant network can be built from equivariant layers followed by a function that does not depend on position,
# such as the mean over all positions. This section does so without training: filter the image with wavelets of several
# sizes and orientations, take the modulus, and average over the torus.
#
# **Make a prediction.** Why is the modulus needed? What would the mean be without it?

# %%
# one layer: 3 sizes, 8 directions
scattering = Scattering2d((56, 56), 3, 8, order=1, pool="mean")
# the wavelets, as Fourier transforms: (3, 8, 56, 56)
_, psi = morlet_bank((56, 56), 3, 8)
garment = data.test.gather(torch.tensor([0]))
here, there = (
    placement.place(garment, torch.tensor([offset])).double() / 255
    for offset in ((2, 4), (23, 17))
)

wavelet = torch.fft.ifft2(psi[1, 2]).roll((28, 28), (0, 1)).real
moduli = {
    name: torch.fft.ifft2(torch.fft.fft2(pixels[0, 0]) * psi[1, 2]).abs()
    for name, pixels in {"here": here, "there": there}.items()
}

# %% tags=["hide-input"]
figure, axes = plt.subplots(
    2, 4, figsize=(10, 4.6), layout="constrained", width_ratios=(1, 1, 1, 1.9)
)
for row, (name, pixels) in enumerate({"here": here, "there": there}.items()):
    titles = ("one of the wavelets", f"garment, {name}", "filtered, modulus")
    panels = (wavelet, pixels[0, 0], moduli[name])
    for axis, panel, title in zip(axes[row, :3], panels, titles, strict=True):
        axis.imshow(panel, cmap="gray")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    # without the mean of the image itself
    means = scattering.double()(pixels).flatten()[1:]
    axes[row, 3].bar(range(24), means, color=(BLUE, VERMILLION)[row])
    axes[row, 3].set_title(f"means of all 24, garment {name}", fontsize=10)
axes[1, 0].set_visible(False)
axes[1, 3].set_xlabel("wavelet: 3 sizes, 8 directions each")
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %%
difference = float((scattering(here) - scattering(there)).abs().max())
largest = float(scattering(here).max())
print(
    f"The means at the two positions differ by {difference:.0e}; the largest mean "
    f"is {largest:.2f}."
)

# %% [markdown]
# **Result.** The map shifts with the garment, and its mean does not change. The wavelet has mean zero, so without the
# modulus every mean would be zero (exercise 2). The modulus makes all contributions positive, so they do not cancel.
# The *scattering transform* (Mallat) is based on this: two such layers form a convnet with fixed filters.

# %% [markdown]
# ## 2. Content-dependent strides
#
# Strides have advantages: they reduce the map to a quarter of its size and double the receptive field. Can a layer have
# a stride *and* be equivariant? A stride of 2 divides a map into four interleaved maps, its polyphase components, and
# always keeps the same one. If the object shifts by one pixel, its content moves to another component.
#
# **Make a prediction.** Which of the four components should be kept?

# %% tags=["hide-input"]
figure, axes = plt.subplots(
    2, 5, figsize=(10, 4.8), layout="constrained", width_ratios=(1.6, 1, 1, 1, 1)
)
positions = {"at (10, 10)": (10, 10), "shifted by one to the right": (10, 11)}
for row, (name, offset) in enumerate(positions.items()):
    pixels = placement.place(garment, torch.tensor([offset])).double() / 255
    y, x = strongest_phase(pixels, 2)[0].tolist()
    axes[row, 0].imshow(pixels[0, 0], cmap="gray")
    axes[row, 0].set_title(name, fontsize=10)
    # (4, 28, 28)
    parts = components(pixels[0, 0], 2).flatten(0, 1)
    for phase, (axis, part) in enumerate(zip(axes[row, 1:], parts, strict=True)):
        axis.imshow(part, cmap="gray")
        kept = ["stride"] * (phase == 0) + ["polyphase"] * (phase == 2 * y + x)
        axis.set_title(
            f"sum of squares {part.square().sum():.2f}\n{' and '.join(kept)}",
            fontsize=9,
        )
        for side in axis.spines.values():
            side.set(color=BLUE, linewidth=3, visible=phase == 2 * y + x)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.suptitle(
    "The four polyphase components, and those kept by a stride and by polyphase "
    "sampling",
    fontsize=10,
)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# Adaptive polyphase sampling (Chaman and Dokmanic, 2021) keeps **the strongest component**, the one with the largest
# sum of squares. The strongest component shifts with the object. In addition, padding must be circular, and the last
# layer must take the maximum or the mean over all positions. This is `InvariantNet`.
#
# An alternative is **recentering**: locate the object and move it to a fixed position before the network. It requires a
# known, empty background. This is `RecenteredNet`.
#
# Both should be invariant *before training*, with random weights. Evaluate them at all 841 placements, and compare the
# drift (the largest change of a logit) with the spread (the difference between the logits of different images). The
# spread matters because a network with constant outputs is invariant too, but useless.


# %%
def everywhere(model, image, placement):
    """Return the logits of an image at each placement, in float64: (placements,
    classes).
    """
    logits = []
    for part in placement.offsets().split(128):
        canvases = (
            placement.place(image.expand(len(part), 1, 28, 28), part).double() / 255
        )
        with torch.no_grad():
            logits.append(model(canvases))
    return torch.cat(logits)


def drift_and_spread(model, images, placement):
    """Return the largest change of a logit from the first placement, and the
    largest difference between images.
    """
    model = model.double().eval()
    logits = torch.stack([everywhere(model, image, placement) for image in images])
    first = logits[:, :1]
    return float((logits - first).abs().max()), float(
        (first - first[:1]).abs().max()
    )


images = data.test.gather(torch.arange(by_setting(2, 3)))
torch.manual_seed(0)
small = {"widths": (8, 8, 16), "mirror": False}
untrained = {
    "polyphase (InvariantNet)": shiftscope.models.InvariantNet(**small),
    "recentering (RecenteredNet)": shiftscope.models.RecenteredNet(**small),
}
for name, model in untrained.items():
    drift, spread = drift_and_spread(model, images, placement)
    print(
        f"{name}: drift {drift:.0e} over {placement.count} placements, spread of "
        f"images {spread:.2g}"
    )
    assert drift < 1e-9 and spread > 1e-2

# %% [markdown]
# For the first model the drift is due to rounding. For the second it is exactly zero, because the input of the network
# after recentering is bit-for-bit identical.
#
# ## 3. Comparison
#
# The figure below compares trained and constructed invariance. The perceptron and the convnet were *trained* on
# thousands of garments, with a new random position in every epoch. The third model averages the outputs of the same
# convnet over 4 x 4 shifts, which removes the effect of its two strides of 2, but not that of its position-dependent
# last layers. The others are invariant *by construction* and have random weights.
#
# **Make a prediction.** By how many powers of ten do the two groups differ?

# %%
# coprime to the stride of 4, so that all remainders occur
some = placement.narrowed(step=by_setting(5, 3))
perceptron = trained_model("two-full", data, epochs=by_setting(2, None))
convnet = trained_model("two-conv", data, epochs=by_setting(1, None))
models = {
    "perceptron, random placements": perceptron,
    "convnet, random placements": convnet,
    "convnet, mean over 4 x 4 shifts": repair(
        convnet, (1, 56, 56), method="phase-average"
    ),
    "scattering": shiftscope.models.ScatteringLinear(),
    **untrained,
}
relative = {}
for name, model in models.items():
    drift, spread = drift_and_spread(model, images, some)
    relative[name] = drift / spread

# %% tags=["hide-input"]
# position of a drift of exactly zero in the plot
FLOOR = 1e-17
figure, axis = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
for row, value in enumerate(relative.values()):
    constructed = row >= 3
    axis.plot([FLOOR, max(value, FLOOR)], [row, row], color=MUTED, linewidth=1)
    marker, color = ("s", BLUE) if constructed else ("o", VERMILLION)
    axis.plot(max(value, FLOOR), row, marker, color=color, markersize=10)
    axis.annotate(
        f"{value:.1g}" if value else "0",
        (max(value, FLOOR), row),
        (10, -4),
        textcoords="offset points",
    )
axis.set_yticks(range(len(relative)), relative)
axis.set(xscale="log", xlim=(FLOOR / 2, 1e3), ylim=(len(relative) - 0.5, -0.5))
axis.set_xlabel(
    f"drift of the logits over {some.count} placements, relative to their spread "
    "between images"
)
axis.set_title(
    "Invariance by training (circles) and by construction (squares)", loc="left"
)
plt.show()

# %%
constructed = max(list(relative.values())[3:])
trained = min(list(relative.values())[:2])
print(
    f"By training: {trained:.2g} or more. By construction: {constructed:.0e} or "
    "less."
)
assert trained > 1e-2
assert constructed < 1e-9

# %% [markdown]
# **Result:** for the models that are invariant by construction, the logits change by less than $10^{-9}$ of the spread
# between images. For the models trained on random placements, the change is a substantial fraction of the spread.
#
# Invariance does not imply accuracy: the last three models are untrained. [The leaderboard](../leaderboard.md) lists
# the accuracy of trained models, and [lesson 6](6_audit_and_repair.py) shows how to repair an existing model.
#
# ## Exercises
#
# **1. Stride and polyphase sampling.** Apply a stride of 2, `x[..., ::2, ::2]`, followed by `amax((2, 3))`, to random
# images rolled by (0, 0), (0, 1), (1, 0), (2, 2) and (3, 5). When does the output change? Compare with
# `shiftscope.layers.PolyphaseDownsample2d(2)`.
#
# **2. The modulus.** Compute the 24 means of section 1 without the modulus. Could a square replace the modulus?
#
# **3. One position instead of the mean.** Read the filtered modulus at the middle pixel instead of its mean over all
# positions. How much do the 24 values change between the garment *here* and *there*?
#
# [Solutions](5_solutions.py)
