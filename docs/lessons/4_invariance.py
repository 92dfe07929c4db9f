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
# # 4 Invariance by construction
#
# A network can learn approximate translation invariance from randomly placed training images. It can also be
# *constructed* to be exactly invariant, for any weights. This lesson develops the building blocks: from a single linear
# layer and wavelets to networks that are translation-invariant before they are trained.
#
# Two definitions: a layer is **equivariant** if its output shifts with its input, like a map of edges. It is
# **invariant** if its output does not change, like a class label.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pywt
import torch
from lesson_setting import by_setting, choose_data, credit, trained_model
from matplotlib.colors import LogNorm
from torch import nn

import shiftscope
from shiftscope.layers import Scattering2d
from shiftscope.layers.polyphase import components, strongest_phase
from shiftscope.layers.scattering import morlet_bank
from shiftscope.models.repair import repair
from shiftscope.reporting.figure_style import BLUE, MUTED, SIGNED, VERMILLION

data = choose_data()
placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
print(credit(data))

# %% [markdown]
# ## 1. A shift-equivariant linear layer is a convolution
#
# Consider one-dimensional signals on a circle of 24 pixels. A linear layer is a matrix $W$ with 24 x 24 = 576 free
# weights. Its task is to denoise rows of garments. Train it three times:
#
# - on rows at their **original position**;
# - on **randomly shifted** rows, rolled around the circle by a random amount each time;
# - on rows at their original position, with a penalty. Let $S$ be the shift by one pixel. For *random* rows $x$ the
#   penalty is $\|W S x - S W x\|^2$: shifting before and after the layer **must commute**. The weight of the penalty
#   increases during training until it dominates.
#
# **Make a prediction.** Nothing in the code below states which weights should be equal. What will the three matrices
# look like?

# %%
PIXELS, NOISE, STEPS = 24, 0.3, by_setting(800, 1500)
rows = data.train.gather(torch.arange(400))[:, 0, 14, 2:26].double() / 255  # (400, 24)


def roll_each(x, by):
    """Roll row i by by[i] pixels."""
    return x.gather(1, (torch.arange(PIXELS) - by[:, None]) % PIXELS)


def train_matrix(shifted=False, penalty=0.0, steps=STEPS):
    """Train a linear layer to remove noise; return its matrix."""
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(PIXELS, PIXELS, dtype=torch.float64, generator=generator) / 5
    W.requires_grad_()
    optimizer = torch.optim.Adam([W])
    for step in range(steps):
        remaining = 1 - step / steps
        optimizer.param_groups[0]["lr"] = 0.02 * remaining
        clean = rows[torch.randint(len(rows), (64,), generator=generator)]
        if shifted:
            clean = roll_each(clean, torch.randint(PIXELS, (64,), generator=generator))
        noise, x = torch.randn(2, 64, PIXELS, dtype=torch.float64, generator=generator)
        task = ((clean + NOISE * noise) @ W.T - clean).square().mean()
        commutator = (x.roll(1, 1) @ W.T - (x @ W.T).roll(1, 1)).square().mean()
        loss = remaining * task + (1 - remaining) * penalty * commutator
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return W.detach()


def nearest_circulant(W):
    """Average over all shifts: shift, apply W, shift back."""
    return torch.stack([W.roll((k, k), (0, 1)) for k in range(PIXELS)]).mean(0)


def distance(W):
    """Distance of W from the nearest circulant matrix, relative to the norm of W."""
    return float((W - nearest_circulant(W)).norm() / W.norm())


matrices = {"initial": train_matrix(steps=0), "original position": train_matrix(),
            "randomly shifted rows": train_matrix(shifted=True), "must commute": train_matrix(penalty=100)}

# %% [markdown]
# Rows and columns of a matrix correspond to output and input pixels. The lower row shows the same matrix in Fourier
# coordinates, $F W F^{-1}$: how much of each input frequency contributes to each output frequency.

# %%
waves = torch.fft.fft(torch.eye(PIXELS, dtype=torch.float64)) / PIXELS**0.5  # F, unitary
figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
for (upper, lower), (name, W) in zip(axes.T, matrices.items(), strict=True):
    top = float(W.abs().max())
    upper.imshow(W, cmap=SIGNED, vmin=-top, vmax=top)
    upper.set_title(f"{name}\ndistance {distance(W):.2g} from a convolution", fontsize=10)
    mixed = lower.imshow((waves @ W.to(waves.dtype) @ waves.conj().T).abs(), cmap="Blues",
                         norm=LogNorm(1e-4, 1, clip=True))
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("pixels: W")
axes[1, 0].set_ylabel("frequencies: |F W F⁻¹|")
figure.colorbar(mixed, ax=axes[1], shrink=0.8)
figure.suptitle("A linear layer that commutes with shifts becomes a single filter")
plt.show()
assert distance(matrices["must commute"]) < distance(matrices["randomly shifted rows"]) / 10

# %% [markdown]
# **Result.** The matrix of the layer that must commute has constant diagonals: each output pixel uses *the same*
# weights for its neighbors. Such a matrix is called circulant, and multiplying by it is a convolution on the circle.
# Only 24 of the 576 weights are independent, those of its first row. Randomly shifted rows have a similar effect, but
# only on average over the training samples, so the matrix deviates from a circulant one.
#
# **Explanation.** $W S = S W$ means $W_{i+1,\,j+1} = W_{i,\,j}$ for every entry. Therefore a convolution is the *only*
# linear layer that shifts with its input. And because shifting a wave only changes its phase, each wave is mapped to a
# multiple of itself: the Fourier transform diagonalizes the matrix.
#
# Note `nearest_circulant`: shift, apply the matrix, shift back, and average over all shifts. The result commutes with
# shifts for any matrix. The same construction appears twice below.

# %% [markdown]
# ## 2. Many small filters or one large filter?
#
# One layer of 9 x 9 has the same receptive field as two layers of 5 x 5 or four of 3 x 3. The three networks below
# differ only in this respect, and their numbers of parameters agree within 5 %.
#
# **Make a prediction.** Which network is most accurate with few training images? And do all 9 x 9 pixels contribute
# equally to a unit after four layers of 3 x 3?


# %%
def unit(before, after, kernel):
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(before, after, kernel, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Cascade(nn.Module):
    """A stem, several layers with one kernel size, global max pooling, and a linear layer with ten outputs."""

    def __init__(self, layers, kernel, width):
        super().__init__()
        self.stem = nn.Sequential(unit(1, 8, 5), nn.MaxPool2d(2))
        inputs = [8] + [width] * (layers - 1)
        self.layers = nn.Sequential(*(unit(before, width, kernel) for before in inputs))
        self.classes = nn.Linear(width, 10)

    def forward(self, pixels):
        return self.classes(self.layers(self.stem(pixels)).amax((2, 3)))


def contribution(net, images):
    """Relative gradient of a unit with respect to each of 9 x 9 positions of the map of the stem."""
    maps = net.stem(images)[:, :, 4:13, 4:13].detach().requires_grad_()
    net.layers(maps).sum().backward()
    gradient = maps.grad.abs().sum((0, 1))
    return gradient / gradient.sum()


small_placement = shiftscope.Placement(image=(28, 28), canvas=(34, 34))  # a small canvas to save time
few = data.limit(by_setting(1000, 5000))
settings = shiftscope.TrainSettings(epochs=by_setting(3, 4), batch_size=25, validation=0,
                                    learning_rate=0.01, micro_batch=0)
garments = few.test.gather(torch.arange(50))
garments = small_placement.place(garments, small_placement.centered(50)) / 255

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 4.6), layout="constrained")
shapes = ((1, 9, 18), (2, 5, 18), (4, 3, 19))  # layers, kernel, width
for axis, (layers, kernel, width) in zip(axes, shapes, strict=True):
    torch.manual_seed(0)
    net = Cascade(layers, kernel, width)
    shiftscope.train(net, few, placement=small_placement, settings=settings)
    accuracy = shiftscope.evaluate(net, few, placement=small_placement).accuracy["random"]
    contributions = contribution(net.eval(), garments)
    inner = contributions[3:6, 3:6].sum()
    axis.imshow(contributions, cmap="Blues", vmin=0)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{layers} of {kernel} x {kernel}: accuracy {accuracy:.1%}", fontsize=10)
    weights = shiftscope.models.count_parameters(net)
    axis.set_xlabel(f"{weights:,} parameters\nmiddle 3 x 3: {inner:.0%} of the total")
figure.suptitle("Contribution of each position of the 9 x 9 receptive field of a unit")
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **Result.** The weights of a large filter extend evenly to the corners. In a stack of small filters, many paths lead
# to the middle of the receptive field and only one to each corner, so a deep unit depends mostly on the middle. This is
# a useful prior for images, because neighboring pixels are related, and it needs no parameters. The stack also applies
# several nonlinearities (ReLU), so it can detect combinations such as "this corner above that one".
#
# The differences in accuracy depend on the images, the training and the seed, and this is one seed of a very short
# training. For results with three seeds and all placements, see [many small kernels or few large kernels](../depth.md).

# %% [markdown]
# ## 3. Blocks and cycle spinning
#
# Convolutions are equivariant to shifts by one pixel, but networks also use *strides*: a pool of 2 keeps one number per
# block of two pixels. The position of the blocks is arbitrary; they start at the corner of the image. The same problem
# occurs in wavelet denoising, where its effect is visible.
#
# The Haar transform converts blocks of 2 x 2, 4 x 4 and 8 x 8 pixels to averages and differences. For denoising, small
# differences are set to zero. **Make a prediction:** what happens to an edge inside a block? And if the image is
# shifted by one pixel?

# %%
cells = shiftscope.Placement(image=(28, 28), canvas=(32, 32))
which = torch.arange(6)
clean = cells.place(data.test.gather(which), cells.sample(which, seed=1)).double() / 255
clean = clean.permute(1, 2, 0, 3).reshape(32, 6 * 32)  # side by side
generator = torch.Generator().manual_seed(0)
noisy = clean + 0.1 * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
clean, noisy = clean.numpy(), noisy.numpy()


def keep_large(levels):
    """Set coefficients below three standard deviations of the noise to zero."""
    return [tuple(pywt.threshold(band, 0.3, "hard") for band in bands) for bands in levels]


def blocks(x):
    """Denoise in blocks of 2, 4 and 8 pixels."""
    averages, *levels = pywt.wavedec2(x, "haar", mode="periodization", level=3)
    return pywt.waverec2([averages, *keep_large(levels)], "haar", mode="periodization")


def undecimated(x):
    """Denoise with a block at every pixel."""
    averages, *levels = pywt.swt2(x, "haar", level=3, trim_approx=True)
    return pywt.iswt2([averages, *keep_large(levels)], "haar")


def cycle_spin(function, x, shifts):
    """Shift, apply the function, shift back, and average over all shifts."""
    results = [np.roll(function(np.roll(x, (dy, dx), (0, 1))), (-dy, -dx), (0, 1))
               for dy in range(shifts) for dx in range(shifts)]
    return np.mean(results, axis=0)


methods = {"noisy": lambda x: x,
           "Haar, in blocks": blocks,
           "the same, mean over 8 x 8 shifts": lambda x: cycle_spin(blocks, x, 8),
           "undecimated Haar: a block at every pixel": undecimated}

figure, axes = plt.subplots(4, 1, figsize=(9, 7.2), layout="constrained")
for axis, (name, method) in zip(axes, methods.items(), strict=True):
    cleaned = method(noisy)
    shifted = np.roll(method(np.roll(noisy, (1, 3), (0, 1))), (-1, -3), (0, 1))
    change = np.abs(shifted - cleaned).max()
    decibels = -10 * np.log10(np.square(cleaned - clean).mean())
    axis.imshow(cleaned, cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}: {decibels:.1f} dB; shifted by (1, 3), "
                   f"the result changes by up to {change:.1g}", fontsize=10, loc="left")
    axis.set_axis_off()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **Result.** Block thresholding causes staircase artifacts, which change when the image is shifted. *Shift, denoise,
# shift back, and average*: with 8 x 8 shifts the artifacts disappear, the PSNR increases by several decibels, and
# shifting the image changes the result only by rounding. This method is called **cycle spinning** (Coifman and Donoho,
# 1995). The last row gives the same result without 64 transforms: it uses a block at *every* pixel, which covers all
# shifts. Lesson 3 did the same for a whole network.
#
# For classification, the results need not be shifted back: averaging the outputs over shifts makes them invariant. See
# [wavelets and invariance](../wavelets.md).

# %% [markdown]
# ## 4. Scattering: equivariant filters, then a global mean
#
# An invariant network can be built from equivariant layers followed by a function that does not depend on position,
# such as the mean over all positions. This section does so without training: filter the image with wavelets of several
# sizes and orientations, take the modulus, and average over the torus.
#
# **Make a prediction.** Why is the modulus needed? What would the mean be without it?

# %%
scattering = Scattering2d((56, 56), 3, 8, order=1, pool="mean")  # one layer: 3 sizes, 8 directions
_, psi = morlet_bank((56, 56), 3, 8)  # the wavelets, as Fourier transforms: (3, 8, 56, 56)
garment = data.test.gather(torch.tensor([0]))
here, there = (placement.place(garment, torch.tensor([offset])).double() / 255
               for offset in ((2, 4), (23, 17)))

wavelet = torch.fft.ifft2(psi[1, 2]).roll((28, 28), (0, 1)).real
figure, axes = plt.subplots(2, 4, figsize=(10, 4.6), layout="constrained",
                            width_ratios=(1, 1, 1, 1.9))
for row, (name, pixels) in enumerate({"here": here, "there": there}.items()):
    filtered = torch.fft.ifft2(torch.fft.fft2(pixels[0, 0]) * psi[1, 2])
    titles = ("one of the wavelets", f"garment, {name}", "filtered, modulus")
    panels = (wavelet, pixels[0, 0], filtered.abs())
    for axis, panel, title in zip(axes[row, :3], panels, titles, strict=True):
        axis.imshow(panel, cmap="gray")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    means = scattering.double()(pixels).flatten()[1:]  # without the mean of the image itself
    axes[row, 3].bar(range(24), means, color=(BLUE, VERMILLION)[row])
    axes[row, 3].set_title(f"means of all 24, garment {name}", fontsize=10)
axes[1, 0].set_visible(False)
axes[1, 3].set_xlabel("wavelet: 3 sizes, 8 directions each")
figure.supxlabel(credit(data), fontsize=8)
plt.show()
difference = float((scattering(here) - scattering(there)).abs().max())
largest = float(scattering(here).max())
print(f"The means at the two positions differ by {difference:.0e}; the largest mean is {largest:.2f}.")

# %% [markdown]
# **Result.** The map shifts with the garment, and its mean does not change. The wavelet has mean zero, so without the
# modulus every mean would be zero (exercise 3). The modulus makes all contributions positive, so they do not cancel.
# The *scattering transform* (Mallat) is based on this: two such layers form a convnet with fixed filters.

# %% [markdown]
# ## 5. Content-dependent strides
#
# Strides have advantages: they reduce the map to a quarter of its size and double the receptive field. Can a layer have
# a stride *and* be equivariant? A stride of 2 divides a map into four interleaved maps, its polyphase components, and
# always keeps the same one. If the object shifts by one pixel, its content moves to another component.
#
# **Make a prediction.** Which of the four components should be kept?

# %%
figure, axes = plt.subplots(2, 5, figsize=(10, 4.8), layout="constrained",
                            width_ratios=(1.6, 1, 1, 1, 1))
positions = {"at (10, 10)": (10, 10), "shifted by one to the right": (10, 11)}
for row, (name, offset) in enumerate(positions.items()):
    pixels = placement.place(garment, torch.tensor([offset])).double() / 255
    y, x = strongest_phase(pixels, 2)[0].tolist()
    axes[row, 0].imshow(pixels[0, 0], cmap="gray")
    axes[row, 0].set_title(name, fontsize=10)
    parts = components(pixels[0, 0], 2).flatten(0, 1)  # (4, 28, 28)
    for phase, (axis, part) in enumerate(zip(axes[row, 1:], parts, strict=True)):
        axis.imshow(part, cmap="gray")
        kept = ["stride"] * (phase == 0) + ["polyphase"] * (phase == 2 * y + x)
        axis.set_title(f"sum of squares {part.square().sum():.2f}\n{' and '.join(kept)}",
                       fontsize=9)
        for side in axis.spines.values():
            side.set(color=BLUE, linewidth=3, visible=phase == 2 * y + x)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.suptitle("The four polyphase components, and those kept by a stride and by polyphase sampling", fontsize=10)
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
    """Return the logits of an image at each placement, in float64: (placements, classes)."""
    logits = []
    for part in placement.offsets().split(128):
        canvases = placement.place(image.expand(len(part), 1, 28, 28), part).double() / 255
        with torch.no_grad():
            logits.append(model(canvases))
    return torch.cat(logits)


def drift_and_spread(model, images, placement):
    """Return the largest change of a logit from the first placement, and the largest difference between images."""
    model = model.double().eval()
    logits = torch.stack([everywhere(model, image, placement) for image in images])
    first = logits[:, :1]
    return float((logits - first).abs().max()), float((first - first[:1]).abs().max())


images = data.test.gather(torch.arange(by_setting(2, 3)))
torch.manual_seed(0)
small = {"widths": (8, 8, 16), "mirror": False}
untrained = {"polyphase (InvariantNet)": shiftscope.models.InvariantNet(**small),
             "recentering (RecenteredNet)": shiftscope.models.RecenteredNet(**small)}
for name, model in untrained.items():
    drift, spread = drift_and_spread(model, images, placement)
    print(f"{name}: drift {drift:.0e} over {placement.count} placements, spread of images {spread:.2g}")
    assert drift < 1e-9 and spread > 1e-2

# %% [markdown]
# For the first model the drift is due to rounding. For the second it is exactly zero, because the input of the network
# after recentering is bit-for-bit identical.
#
# ## Comparison
#
# The figure below compares trained and constructed invariance. The perceptron and the convnet were *trained* on
# thousands of garments, with a new random position in every epoch. The third model averages the outputs of the same
# convnet over 4 x 4 shifts, which removes the effect of its two strides of 2, but not that of its position-dependent
# last layers. The others are invariant *by construction* and have random weights.
#
# **Make a prediction.** By how many powers of ten do the two groups differ?

# %%
some = placement.narrowed(step=by_setting(5, 3))  # coprime to the stride of 4, so that all remainders occur
perceptron = trained_model("two-full", data, epochs=by_setting(2, None))
convnet = trained_model("two-conv", data, epochs=by_setting(1, None))
models = {"perceptron, random placements": perceptron, "convnet, random placements": convnet,
          "convnet, mean over 4 x 4 shifts": repair(convnet, (1, 56, 56), method="phase-average"),
          "scattering": shiftscope.models.ScatteringLinear(),
          **untrained}
relative = {}
for name, model in models.items():
    drift, spread = drift_and_spread(model, images, some)
    relative[name] = drift / spread

# %%
FLOOR = 1e-17  # position of a drift of exactly zero in the plot
figure, axis = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
for row, value in enumerate(relative.values()):
    constructed = row >= 3
    axis.plot([FLOOR, max(value, FLOOR)], [row, row], color=MUTED, linewidth=1)
    marker, color = ("s", BLUE) if constructed else ("o", VERMILLION)
    axis.plot(max(value, FLOOR), row, marker, color=color, markersize=10)
    axis.annotate(f"{value:.1g}" if value else "0", (max(value, FLOOR), row), (10, -4),
                  textcoords="offset points")
axis.set_yticks(range(len(relative)), relative)
axis.set(xscale="log", xlim=(FLOOR / 2, 1e3), ylim=(len(relative) - 0.5, -0.5))
axis.set_xlabel(f"drift of the logits over {some.count} placements, relative to their spread between images")
axis.set_title("Invariance by training (circles) and by construction (squares)", loc="left")
plt.show()

constructed = max(list(relative.values())[3:])
trained = min(list(relative.values())[:2])
print(f"By training: {trained:.2g} or more. By construction: {constructed:.0e} or less.")
assert trained > 1e-2
assert constructed < 1e-9

# %% [markdown]
# **Result:** for the models that are invariant by construction, the logits change by less than $10^{-9}$ of the spread
# between images. For the models trained on random placements, the change is a substantial fraction of the spread.
#
# Invariance does not imply accuracy: the last three models are untrained. [The leaderboard](../leaderboard.md) lists
# the accuracy of trained models, and [lesson 5](5_audit_and_repair.py) shows how to repair an existing model.
#
# ## Exercises
#
# **1. Circulant average.** Replace the matrix trained on randomly shifted rows by its `nearest_circulant`. Does this
# improve denoising on new rows? Measure it on rows of the first 1,000 test images, each randomly shifted.
#
# <details><summary>Solution</summary>
#
# ```python
# clean_rows = data.test.gather(torch.arange(1000))[:, 0, 14, 2:26].double() / 255
# generator = torch.Generator().manual_seed(1)
# clean_rows = roll_each(clean_rows, torch.randint(PIXELS, (len(clean_rows),), generator=generator))
# noisy_rows = clean_rows + NOISE * torch.randn(clean_rows.shape, dtype=clean_rows.dtype, generator=generator)
# trained = matrices["randomly shifted rows"]
# for name, W in {"as trained": trained, "averaged": nearest_circulant(trained)}.items():
#     print(name, float((noisy_rows @ W.T - clean_rows).square().mean()))
# ```
#
# The error decreases slightly. The average removes the position-dependent part of the weights. The task does not depend
# on position, so this part is noise, and averaging combines 24 estimates of each weight.
#
# </details>
#
# **2. Stride and polyphase sampling.** Apply a stride of 2, `x[..., ::2, ::2]`, followed by `amax((2, 3))`, to random
# images rolled by (0, 0), (0, 1), (1, 0), (2, 2) and (3, 5). When does the output change? Compare with
# `shiftscope.layers.PolyphaseDownsample2d(2)`.
#
# <details><summary>Solution</summary>
#
# ```python
# from shiftscope.layers import PolyphaseDownsample2d
#
# x = torch.rand(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
# polyphase = PolyphaseDownsample2d(2)
# for shift in ((0, 0), (0, 1), (1, 0), (2, 2), (3, 5)):
#     shifted = x.roll(shift, (2, 3))
#     stride = (shifted[..., ::2, ::2].amax((2, 3)) - x[..., ::2, ::2].amax((2, 3))).abs().max()
#     chosen = (polyphase(shifted).amax((2, 3)) - polyphase(x).amax((2, 3))).abs().max()
#     print(shift, "stride", float(stride), "polyphase", float(chosen))
# ```
#
# With the stride, the output changes if the shift is odd along at least one axis, because another component is kept.
# Even shifts move the kept component by whole positions, which does not change the maximum. With polyphase sampling the
# output never changes.
#
# </details>
#
# **3. The modulus.** Compute the 24 means of section 4 without the modulus. Could a square replace the modulus?
#
# <details><summary>Solution</summary>
#
# ```python
# filtered = torch.fft.ifft2(torch.fft.fft2(here[0, 0]) * psi)  # (3, 8, 56, 56)
# print("without:", float(filtered.mean((2, 3)).abs().max()))
# print("modulus:", float(filtered.abs().mean((2, 3)).max()))
# print("square: ", float(filtered.abs().square().mean((2, 3)).max()))
# ```
#
# Without the modulus they are zero: the mean of a filtered image is the mean of the image times the mean of the filter.
# With a square the result is also invariant. By Parseval's identity it is the power in a frequency range, which can be
# computed without the inverse Fourier transform. But it is proportional to the square of the contrast, so a few bright
# edges dominate, and small changes of these edges have a large effect.
#
# </details>
