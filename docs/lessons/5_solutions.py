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
# # Solutions to lesson 5
#
# The first cell runs the code of [the lesson](5_invariance.py) without its figures, which takes as long as in the
# lesson. The solutions use its variables.

# %%
from lesson_setting import continue_lesson

globals().update(continue_lesson("5_invariance"))

# %% [markdown]
# ## 1. Stride and polyphase sampling
#
# Apply a stride of 2, `x[..., ::2, ::2]`, followed by `amax((2, 3))`, to random images rolled by (0, 0), (0, 1), (1,
# 0), (2, 2) and (3, 5). When does the output change? Compare with `shiftscope.layers.PolyphaseDownsample2d(2)`.

# %%
from shiftscope.layers import PolyphaseDownsample2d

x = torch.rand(
    1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)
polyphase = PolyphaseDownsample2d(2)
for shift in ((0, 0), (0, 1), (1, 0), (2, 2), (3, 5)):
    shifted = x.roll(shift, (2, 3))
    stride = (
        (shifted[..., ::2, ::2].amax((2, 3)) - x[..., ::2, ::2].amax((2, 3)))
        .abs()
        .max()
    )
    chosen = (
        (polyphase(shifted).amax((2, 3)) - polyphase(x).amax((2, 3))).abs().max()
    )
    print(shift, "stride", float(stride), "polyphase", float(chosen))

# %% [markdown]
# With the stride, the output changes if the shift is odd along at least one axis, because another component is kept.
# Even shifts move the kept component by whole positions, which does not change the maximum. With polyphase sampling the
# output never changes.

# %% [markdown]
# ## 2. The modulus
#
# Compute the 24 means of section 1 without the modulus. Could a square replace the modulus?

# %%
# (3, 8, 56, 56)
filtered = torch.fft.ifft2(torch.fft.fft2(here[0, 0]) * psi)
print("without:", float(filtered.mean((2, 3)).abs().max()))
print("modulus:", float(filtered.abs().mean((2, 3)).max()))
print("square: ", float(filtered.abs().square().mean((2, 3)).max()))

# %% [markdown]
# Without the modulus they are zero: the mean of a filtered image is the mean of the image times the mean of the filter.
# With a square the result is also invariant. By Parseval's identity it is the power in a frequency range, which can be
# computed without the inverse Fourier transform. But it is proportional to the square of the contrast, so a few bright
# edges dominate, and small changes of these edges have a large effect.

# %% [markdown]
# ## 3. One position instead of the mean
#
# Read the filtered modulus at the middle pixel instead of its mean over all positions. How much do the 24 values change
# between the garment *here* and *there*?

# %%
maps = {
    name: torch.fft.ifft2(torch.fft.fft2(pixels[0, 0]) * psi).abs()
    for name, pixels in {"here": here, "there": there}.items()
}
for name, read in {
    "middle": lambda m: m[..., 28, 28],
    "mean": lambda m: m.mean((2, 3)),
    "maximum": lambda m: m.amax((2, 3)),
}.items():
    one, other = read(maps["here"]), read(maps["there"])
    print(
        f"{name}: largest change {(one - other).abs().max():.1g}, largest value "
        f"{one.max():.2g}"
    )

# %% [markdown]
# The value at the middle pixel changes by as much as it is large: the map is equivariant, so the pixel sees another
# part of the garment. Mean and maximum do not depend on the order of the positions, and change only by rounding.
