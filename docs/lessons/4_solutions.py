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
# # Solutions to lesson 4
#
# The first cell runs the code of [the lesson](4_equivariance.py) without its figures, which takes as long as in the
# lesson. The solutions use its variables.

# %%
from lesson_setting import continue_lesson

globals().update(continue_lesson("4_equivariance"))

# %% [markdown]
# ## 1. Circulant average
#
# Replace the matrix trained on randomly shifted rows by its `nearest_circulant`. Does this improve denoising on new
# rows? Measure it on rows of the first 1,000 test images, each randomly shifted.

# %%
clean_rows = data.test.gather(torch.arange(1000))[:, 0, 14, 2:26].double() / 255
generator = torch.Generator().manual_seed(1)
clean_rows = roll_each(
    clean_rows, torch.randint(PIXELS, (len(clean_rows),), generator=generator)
)
noisy_rows = clean_rows + NOISE * torch.randn(
    clean_rows.shape, dtype=clean_rows.dtype, generator=generator
)
trained = matrices["randomly shifted rows"]
for name, W in {
    "as trained": trained,
    "averaged": nearest_circulant(trained),
}.items():
    print(name, float((noisy_rows @ W.T - clean_rows).square().mean()))

# %% [markdown]
# The error decreases slightly. The average removes the position-dependent part of the weights. The task does not depend
# on position, so this part is noise, and averaging combines 24 estimates of each weight.

# %% [markdown]
# ## 2. Depth without ReLU
#
# Two layers of 3 x 3 without a nonlinearity between them are one linear layer. Compute its kernel from two random
# kernels (`torch.nn.functional.conv2d`). How large is it, and which part of its absolute sum is in the middle 3 x 3,
# for 100 pairs of random kernels?

# %%
generator = torch.Generator().manual_seed(0)
fractions = []
for _ in range(100):
    one, two = torch.randn(2, 1, 1, 3, 3, generator=generator)
    # a full correlation: the second kernel is flipped and the first one padded
    both = nn.functional.conv2d(one, two.flip(2, 3), padding=2)[0, 0]
    fractions.append(float(both[1:4, 1:4].abs().sum() / both.abs().sum()))
image = torch.rand(1, 1, 9, 9, generator=generator)
stacked = nn.functional.conv2d(nn.functional.conv2d(image, one), two)
assert torch.allclose(
    stacked, nn.functional.conv2d(image, both[None, None]), atol=1e-5
)
print(
    f"{tuple(both.shape)}; in the middle 3 x 3: {np.mean(fractions):.0%}, by area "
    f"{9 / 25:.0%}"
)

# %% [markdown]
# The kernel has 5 x 5 weights. The middle has more than its area, for random weights too: nine paths lead through the
# two layers to the middle pixel, and one to each corner. With a ReLU between the layers the paths are the same, but no
# single kernel describes them.

# %% [markdown]
# ## 3. How many shifts?
#
# Average the block denoiser over 1, 2, 4, 8 and 16 shifts in each direction. How does the PSNR change, and from which
# number on does a shift of the image no longer change the result? Why?

# %%
for shifts in (1, 2, 4, 8, 16):
    spun = cycle_spin(blocks, noisy, shifts)
    moved = np.roll(
        cycle_spin(blocks, np.roll(noisy, (1, 3), (0, 1)), shifts), (-1, -3), (0, 1)
    )
    decibels = -10 * np.log10(np.square(spun - clean).mean())
    print(
        f"{shifts:2d} x {shifts:2d} shifts: {decibels:.1f} dB, change "
        f"{np.abs(moved - spun).max():.1g}"
    )

# %% [markdown]
# The PSNR increases with the number of shifts up to 8. From 8 on, a shift of the image changes the result only by
# rounding. The largest blocks have 8 x 8 pixels: a shift by 8 gives the same blocks again, so 8 x 8 shifts cover all
# cases, and more of them repeat these.
