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
# # 4 Equivariance: convolution, small filters, cycle spinning
#
# A layer is **equivariant** if its output shifts with its input, like a map of edges. It is **invariant** if its output
# does not change, like a class label. Which linear layers are equivariant? Why do networks stack small filters? And
# what can be done about operations that work in blocks, such as strides? This lesson answers the three questions with a
# single layer, three small networks, and wavelets. Lesson 5 combines the answers into invariant networks.
#
# **Time:** 50 min reading, 2 min computation, 30 min exercises.
#
# **Goals:**
#
# - Derive convolution from equivariance.
# - Describe what depth adds to a receptive field.
# - Average over shifts.
#
# **Prerequisites:** lesson 1; matrices; the idea of a Fourier transform.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pywt
import torch
from lesson_setting import by_setting, choose_data, credit
from matplotlib.colors import LogNorm
from torch import nn

import shiftscope
from shiftscope.reporting.figure_style import SIGNED

# %%
data = choose_data()
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
# (400, 24)
rows = data.train.gather(torch.arange(400))[:, 0, 14, 2:26].double() / 255


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
            clean = roll_each(
                clean, torch.randint(PIXELS, (64,), generator=generator)
            )
        noise, x = torch.randn(
            2, 64, PIXELS, dtype=torch.float64, generator=generator
        )
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
    """Distance of W from the nearest circulant matrix, relative to the norm of W.
    """
    return float((W - nearest_circulant(W)).norm() / W.norm())


matrices = {
    "initial": train_matrix(steps=0),
    "original position": train_matrix(),
    "randomly shifted rows": train_matrix(shifted=True),
    "must commute": train_matrix(penalty=100),
}

# %% [markdown]
# Rows and columns of a matrix correspond to output and input pixels. The lower row shows the same matrix in Fourier
# coordinates, $F W F^{-1}$: how much of each input frequency contributes to each output frequency.

# %%
# F, unitary
waves = torch.fft.fft(torch.eye(PIXELS, dtype=torch.float64)) / PIXELS**0.5
mixing = {
    name: (waves @ W.to(waves.dtype) @ waves.conj().T).abs()
    for name, W in matrices.items()
}
assert (
    distance(matrices["must commute"])
    < distance(matrices["randomly shifted rows"]) / 10
)

# %% tags=["hide-input"]
figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
for (upper, lower), (name, W) in zip(axes.T, matrices.items(), strict=True):
    top = float(W.abs().max())
    upper.imshow(W, cmap=SIGNED, vmin=-top, vmax=top)
    upper.set_title(
        f"{name}\n{distance(W):.2g} from a convolution", fontsize=10
    )
    mixed = lower.imshow(
        mixing[name], cmap="Blues", norm=LogNorm(1e-4, 1, clip=True)
    )
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("pixels: W")
axes[1, 0].set_ylabel("frequencies: |F W F⁻¹|")
figure.colorbar(mixed, ax=axes[1], shrink=0.8)
figure.suptitle("A linear layer that commutes with shifts becomes a single filter")
plt.show()

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
# shifts for any matrix. The same construction appears below, for a denoiser, and in lesson 5 for a network.

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
    """A stem, several layers with one kernel size, global max pooling, and a linear
    layer with ten outputs.
    """

    def __init__(self, layers, kernel, width):
        super().__init__()
        self.stem = nn.Sequential(unit(1, 8, 5), nn.MaxPool2d(2))
        inputs = [8] + [width] * (layers - 1)
        self.layers = nn.Sequential(
            *(unit(before, width, kernel) for before in inputs)
        )
        self.classes = nn.Linear(width, 10)

    def forward(self, pixels):
        return self.classes(self.layers(self.stem(pixels)).amax((2, 3)))


def contribution(net, images):
    """Relative gradient of a unit with respect to each of 9 x 9 positions of the
    map of the stem.
    """
    maps = net.stem(images)[:, :, 4:13, 4:13].detach().requires_grad_()
    net.layers(maps).sum().backward()
    gradient = maps.grad.abs().sum((0, 1))
    return gradient / gradient.sum()


# a small canvas to save time
small_placement = shiftscope.Placement(image=(28, 28), canvas=(34, 34))
few = data.limit(by_setting(1000, 5000))
settings = shiftscope.TrainSettings(
    epochs=by_setting(3, 4),
    batch_size=25,
    validation=0,
    learning_rate=0.01,
    micro_batch=0,
)
garments = few.test.gather(torch.arange(50))
garments = small_placement.place(garments, small_placement.centered(50)) / 255

# %%
# layers, kernel, width
SHAPES = ((1, 9, 18), (2, 5, 18), (4, 3, 19))
cascades = {}
for layers, kernel, width in SHAPES:
    torch.manual_seed(0)
    net = Cascade(layers, kernel, width)
    shiftscope.train(net, few, placement=small_placement, settings=settings)
    accuracy = shiftscope.evaluate(net, few, placement=small_placement).accuracy[
        "random"
    ]
    parameters = shiftscope.models.count_parameters(net)
    cascades[f"{layers} of {kernel} x {kernel}"] = (
        contribution(net.eval(), garments),
        accuracy,
        parameters,
    )

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 3, figsize=(10, 4.6), layout="constrained")
for axis, (name, (contributions, accuracy, parameters)) in zip(
    axes, cascades.items(), strict=True
):
    axis.imshow(contributions, cmap="Blues", vmin=0)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{name}: accuracy {accuracy:.1%}", fontsize=10)
    axis.set_xlabel(
        f"{parameters:,} parameters\nmiddle 3 x 3: "
        f"{contributions[3:6, 3:6].sum():.0%} of the total"
    )
figure.suptitle(
    "Contribution of each position of the 9 x 9 receptive field of a unit"
)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **Result.** The weights of a large filter extend evenly to the corners: the middle 3 x 3 positions, 11 % of the area,
# have 10 % of the total. In a stack of small filters, many paths lead to the middle of the receptive field and only one
# to each corner, so a deep unit depends more on the middle (22 %), and hardly on the corners. This is a useful prior
# for images, because neighboring pixels are related, and it needs no parameters. The stack also applies several
# nonlinearities (ReLU), so it can detect combinations such as "this corner above that one".
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
clean = (
    cells.place(data.test.gather(which), cells.sample(which, seed=1)).double() / 255
)
# side by side
clean = clean.permute(1, 2, 0, 3).reshape(32, 6 * 32)
generator = torch.Generator().manual_seed(0)
noisy = clean + 0.1 * torch.randn(
    clean.shape, dtype=clean.dtype, generator=generator
)
clean, noisy = clean.numpy(), noisy.numpy()


def keep_large(levels):
    """Set coefficients below three standard deviations of the noise to zero."""
    return [
        tuple(pywt.threshold(band, 0.3, "hard") for band in bands)
        for bands in levels
    ]


def blocks(x):
    """Denoise in blocks of 2, 4 and 8 pixels."""
    averages, *levels = pywt.wavedec2(x, "haar", mode="periodization", level=3)
    return pywt.waverec2(
        [averages, *keep_large(levels)], "haar", mode="periodization"
    )


def undecimated(x):
    """Denoise with a block at every pixel."""
    averages, *levels = pywt.swt2(x, "haar", level=3, trim_approx=True)
    return pywt.iswt2([averages, *keep_large(levels)], "haar")


def cycle_spin(function, x, shifts):
    """Shift, apply the function, shift back, and average over all shifts."""
    results = [
        np.roll(function(np.roll(x, (dy, dx), (0, 1))), (-dy, -dx), (0, 1))
        for dy in range(shifts)
        for dx in range(shifts)
    ]
    return np.mean(results, axis=0)


methods = {
    "noisy": lambda x: x,
    "Haar, in blocks": blocks,
    "the same, mean over 8 x 8 shifts": lambda x: cycle_spin(blocks, x, 8),
    "undecimated Haar: a block at every pixel": undecimated,
}

denoised = {}
for name, method in methods.items():
    cleaned = method(noisy)
    shifted = np.roll(method(np.roll(noisy, (1, 3), (0, 1))), (-1, -3), (0, 1))
    decibels = -10 * np.log10(np.square(cleaned - clean).mean())
    denoised[name] = cleaned, decibels, np.abs(shifted - cleaned).max()

# %% tags=["hide-input"]
figure, axes = plt.subplots(4, 1, figsize=(9, 7.2), layout="constrained")
for axis, (name, (cleaned, decibels, change)) in zip(
    axes, denoised.items(), strict=True
):
    axis.imshow(cleaned, cmap="gray", vmin=0, vmax=1)
    axis.set_title(
        f"{name}: {decibels:.1f} dB; shifted by (1, 3), "
        f"the result changes by up to {change:.1g}",
        fontsize=10,
        loc="left",
    )
    axis.set_axis_off()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %%
_, in_blocks, moved = denoised["Haar, in blocks"]
_, averaged, unmoved = denoised["the same, mean over 8 x 8 shifts"]
print(
    f"Averaging over shifts increases the PSNR by {averaged - in_blocks:.1f} dB, "
    "and reduces the effect of a shift from "
    f"{moved:.1g} to {unmoved:.0e}."
)
assert averaged > in_blocks + 1 and unmoved < 1e-9 < moved

# %% [markdown]
# **Result.** Block thresholding causes staircase artifacts, which change when the image is shifted. *Shift, denoise,
# shift back, and average*: with 8 x 8 shifts the artifacts disappear, the PSNR increases by several decibels, and
# shifting the image changes the result only by rounding. This method is called **cycle spinning** (Coifman and Donoho,
# 1995). The last row gives the same result without 64 transforms: it uses a block at *every* pixel, which covers all
# shifts. Lesson 3 did the same for a whole network.
#
# For classification, the results need not be shifted back: averaging the outputs over shifts makes them invariant. See
# [wavelets and invariance](../wavelets.md).
#
# ## Exercises
#
# **1. Circulant average.** Replace the matrix trained on randomly shifted rows by its `nearest_circulant`. Does this
# improve denoising on new rows? Measure it on rows of the first 1,000 test images, each randomly shifted.
#
# **2. Depth without ReLU.** Two layers of 3 x 3 without a nonlinearity between them are one linear layer. Compute its
# kernel from two random kernels (`torch.nn.functional.conv2d`). How large is it, and which part of its absolute sum is
# in the middle 3 x 3, for 100 pairs of random kernels?
#
# **3. How many shifts?** Average the block denoiser over 1, 2, 4, 8 and 16 shifts in each direction. How does the PSNR
# change, and from which number on does a shift of the image no longer change the result? Why?
#
# [Solutions](4_solutions.py)
