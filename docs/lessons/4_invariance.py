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
# # 4 Invariance: built so as not to care
#
# A shoe is a shoe, wherever it stands. A network does not know that. It can be *told* so with moved examples, again
# and again, and it will nearly believe it. Or it can be *built* so that it could not think otherwise, whatever its
# weights are. This lesson builds: from one linear layer, by way of wavelets, to networks that are indifferent to
# place before they have seen a single image.
#
# Two words first. A layer is **equivariant** if its answer moves along when the picture moves: a map of edges should.
# It is **invariant**, or indifferent, if its answer stays the same: a label should.

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
place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
print(credit(data))

# %% [markdown]
# ## 1. A layer that must follow a shift *is* a convolution
#
# Take the smallest world that has places: a circle of 24 pixels. A picture is a row of 24 numbers, and a linear layer
# is a matrix $W$ of 24 x 24 = 576 weights, each free. Its task is to remove noise from rows cut out of garments. We
# train it three times:
#
# - on rows that stay **where they are**;
# - on **moved** rows, rolled around the circle by a random amount each time;
# - on rows where they are, but with a price on disobedience. Let $S$ be the shift by one pixel. For *random* rows $x$
#   the layer pays $\|W S x - S W x\|^2$: shifting first and shifting afterwards **must commute**. The price rises
#   from nothing until nothing else counts.
#
# **Guess first.** Nothing below says which weights should be equal to which. What will the three matrices look like?

# %%
PIXELS, NOISE, STEPS = 24, 0.3, by_setting(800, 1500)
rows = data.train.gather(torch.arange(400))[:, 0, 14, 2:26].double() / 255  # (400, 24)


def roll_each(x, by):
    """Roll row i by by[i] pixels."""
    places = (torch.arange(PIXELS) - by[:, None]) % PIXELS
    return x.gather(1, places)


def learn(moved=False, price=0.0, steps=STEPS):
    """Train a linear layer to remove noise; return its matrix."""
    random = torch.Generator().manual_seed(0)
    W = torch.randn(PIXELS, PIXELS, dtype=torch.float64, generator=random) / 5
    W.requires_grad_()
    optimizer = torch.optim.Adam([W])
    for step in range(steps):
        left = 1 - step / steps
        optimizer.param_groups[0]["lr"] = 0.02 * left
        clean = rows[torch.randint(len(rows), (64,), generator=random)]
        if moved:
            clean = roll_each(clean, torch.randint(PIXELS, (64,), generator=random))
        noise, x = torch.randn(2, 64, PIXELS, dtype=torch.float64, generator=random)
        task = ((clean + NOISE * noise) @ W.T - clean).square().mean()
        disobedience = (x.roll(1, 1) @ W.T - (x @ W.T).roll(1, 1)).square().mean()
        loss = left * task + (1 - left) * price * disobedience
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return W.detach()


def nearest_circulant(W):
    """Average over all shifts: shift there, apply W, shift back."""
    return torch.stack([W.roll((k, k), (0, 1)) for k in range(PIXELS)]).mean(0)


def distance(W):
    """How far W is from the nearest circulant matrix, as a share of its own size."""
    return float((W - nearest_circulant(W)).norm() / W.norm())


matrices = {"at the start": learn(steps=0), "rows where they are": learn(),
            "moved rows": learn(moved=True), "must commute": learn(price=100)}

# %% [markdown]
# Rows and columns of a matrix are pixels out and pixels in. Below each matrix stands the same matrix in the
# coordinates of the Fourier transform, $F W F^{-1}$: how much of each wave going in comes out as which wave.

# %%
waves = torch.fft.fft(torch.eye(PIXELS, dtype=torch.float64)) / PIXELS**0.5  # F, unitary
figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
for (upper, lower), (name, W) in zip(axes.T, matrices.items(), strict=True):
    top = float(W.abs().max())
    upper.imshow(W, cmap=SIGNED, vmin=-top, vmax=top)
    upper.set_title(f"{name}\n{distance(W):.2g} from a convolution", fontsize=10)
    mixed = lower.imshow((waves @ W.to(waves.dtype) @ waves.conj().T).abs(), cmap="Blues",
                         norm=LogNorm(1e-4, 1, clip=True))
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("pixels: W")
axes[1, 0].set_ylabel("waves: size of F W F⁻¹")
figure.colorbar(mixed, ax=axes[1], shrink=0.8)
figure.suptitle("576 free weights, asked to commute with a shift, become one filter")
plt.show()
assert distance(matrices["must commute"]) < distance(matrices["moved rows"]) / 10

# %% [markdown]
# **What we saw.** The layer that must commute has diagonals of equal weights: each output pixel looks at its
# neighbors with *the same* weights as every other one. Such a matrix is called circulant, and applying it is a
# convolution on the circle: of 576 weights 24 are left, those of its first row. Moved rows pull the same way, but
# they only ask for it, on average over what happened to be drawn; the matrix stays off by its share of chance.
#
# **Why.** $W S = S W$ says, entry by entry, $W_{i+1,\,j+1} = W_{i,\,j}$. That is all. A convolution is not a clever
# invention for images, it is the *only* linear layer that moves along with its input. And since waves only change
# phase when they are shifted, each wave comes out as the same wave, larger or smaller: the Fourier transform makes
# the matrix diagonal.
#
# Look at `nearest_circulant` once more: shift there, apply, shift back, take the mean. Whatever goes in, what comes
# out commutes. We meet this sentence twice again.

# %% [markdown]
# ## 2. Many small filters or one large one?
#
# So it has to be convolutions; of what size? One layer of 9 x 9 sees as far as two of 5 x 5 or four of 3 x 3. Here
# are three networks that differ in nothing but that, with the same number of parameters but for 5 %: more layers, but
# each filter smaller.
#
# **Guess first.** Which one learns more from the same few images? And does a unit behind four layers of 3 x 3 look at
# its 9 x 9 pixels evenly?


# %%
def unit(before, after, kernel):
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(before, after, kernel, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


class Cascade(nn.Module):
    """A stem, some layers of one kernel, each channel's largest value, ten classes."""

    def __init__(self, layers, kernel, width):
        super().__init__()
        self.stem = nn.Sequential(unit(1, 8, 5), nn.MaxPool2d(2))
        inputs = [8] + [width] * (layers - 1)
        self.layers = nn.Sequential(*(unit(before, width, kernel) for before in inputs))
        self.classes = nn.Linear(width, 10)

    def forward(self, pixels):
        return self.classes(self.layers(self.stem(pixels)).amax((2, 3)))


def looked_at(net, images):
    """How much each of 9 x 9 places of the stem's map counts for the value behind them."""
    maps = net.stem(images)[:, :, 4:13, 4:13].detach().requires_grad_()
    net.layers(maps).sum().backward()
    share = maps.grad.abs().sum((0, 1))
    return share / share.sum()


small_place = shiftscope.Placement(image=(28, 28), canvas=(34, 34))  # it is about filters
few = data.limit(by_setting(1000, 5000))
settings = shiftscope.TrainSettings(epochs=by_setting(3, 4), batch_size=25, validation=0,
                                    learning_rate=0.01, micro_batch=0)
garments = few.test.gather(torch.arange(50))
garments = small_place.place(garments, small_place.centered(50)) / 255

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 4.6), layout="constrained")
shapes = ((1, 9, 18), (2, 5, 18), (4, 3, 19))  # layers, kernel, width
for axis, (layers, kernel, width) in zip(axes, shapes, strict=True):
    torch.manual_seed(0)
    net = Cascade(layers, kernel, width)
    shiftscope.train(net, few, placement=small_place, settings=settings)
    right = shiftscope.evaluate(net, few, placement=small_place).accuracy["random"]
    share = looked_at(net.eval(), garments)
    inner = share[3:6, 3:6].sum()
    axis.imshow(share, cmap="Blues", vmin=0)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{layers} of {kernel} x {kernel}: {right:.1%} right", fontsize=10)
    weights = shiftscope.models.count_parameters(net)
    axis.set_xlabel(f"{weights:,} parameters\nthe middle 3 x 3: {inner:.0%} of all")
figure.suptitle("How much each of the 9 x 9 places counts that a unit can see")
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **What we saw.** A large filter spreads its weights evenly to the corners. Many paths lead through a cascade to the
# middle and only one to each corner, so a deep unit looks at the middle first and at the rim a little. It is a good
# guess about pictures, neighbors belong together, and it costs no parameter. Between its layers the cascade can also
# say *no* (ReLU) several times, so it may ask for "this corner, and that one below it".
#
# How far the accuracies lie apart depends on the images, the training and the seed, and this is one seed of a very
# short training. The measured answer, with three seeds and every placement, stands in [deep and small against shallow
# and large](../depth.md).

# %% [markdown]
# ## 3. Blocks, and spinning them
#
# A convolution moves along with its input, pixel by pixel. Networks also take *steps*: a pool of 2 looks at blocks of
# two pixels and keeps one number of each. Where do the blocks begin? At the picture's corner, for no reason. Wavelets
# met this problem long before networks did, and there one can see it.
#
# The Haar transform turns blocks of 2 x 2, 4 x 4 and 8 x 8 pixels into averages and differences. To remove noise,
# small differences are set to zero. **Guess first:** what happens to an edge that runs through the middle of a block?
# And what if we move the picture by one pixel?

# %%
cells = shiftscope.Placement(image=(28, 28), canvas=(32, 32))
which = torch.arange(6)
clean = cells.place(data.test.gather(which), cells.sample(which, seed=1)).double() / 255
clean = clean.permute(1, 2, 0, 3).reshape(32, 6 * 32)  # side by side
random = torch.Generator().manual_seed(0)
noisy = clean + 0.1 * torch.randn(clean.shape, dtype=clean.dtype, generator=random)
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


ways = {"noisy": lambda x: x,
        "Haar, in blocks": blocks,
        "the same, mean over 8 x 8 shifts": lambda x: cycle_spin(blocks, x, 8),
        "undecimated Haar: a block at every pixel": undecimated}

figure, axes = plt.subplots(4, 1, figsize=(9, 7.2), layout="constrained")
for axis, (name, way) in zip(axes, ways.items(), strict=True):
    cleaned = way(noisy)
    moved = np.roll(way(np.roll(noisy, (1, 3), (0, 1))), (-1, -3), (0, 1))
    changed = np.abs(moved - cleaned).max()
    decibels = -10 * np.log10(np.square(cleaned - clean).mean())
    axis.imshow(cleaned, cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{name}: {decibels:.1f} dB; moved by (1, 3), "
                   f"its answer changes by up to {changed:.1g}", fontsize=10, loc="left")
    axis.set_axis_off()
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **What we saw.** Blocks leave stairs, and other stairs when the picture moves. *Shift there, remove noise, shift
# back, take the mean*: after 8 x 8 shifts the stairs are gone, several decibels are won, and moving the picture
# changes nothing but the last digits. Coifman and Donoho called it **cycle spinning** (1995). The last row needs no
# 64 transforms. It takes a block at *every* pixel, which is all that the 64 can see, and gets the same picture.
# Lesson 3 did this to a whole network.
#
# A network that is to name the object needs no shifting back: averaging its answers over shifts makes them
# indifferent. [More on wavelets](../wavelets.md).

# %% [markdown]
# ## 4. Scattering: move along, then forget where
#
# The recipe for indifference is now plain: layers that move along, and at the end a number that does not depend on
# place, such as the mean over all places. Let us do it without any training. Filter with wavelets, small waves of
# some size and direction; take the modulus; take the mean over the torus.
#
# **Guess first.** Why the modulus? What would the mean be without it?

# %%
scattering = Scattering2d((56, 56), 3, 8, order=1, pool="mean")  # one layer: 3 sizes, 8 directions
_, psi = morlet_bank((56, 56), 3, 8)  # the wavelets, as Fourier transforms: (3, 8, 56, 56)
garment = data.test.gather(torch.tensor([0]))
here, there = (place.place(garment, torch.tensor([offset])).double() / 255
               for offset in ((2, 4), (23, 17)))

wavelet = torch.fft.ifft2(psi[1, 2]).roll((28, 28), (0, 1)).real
figure, axes = plt.subplots(2, 4, figsize=(10, 4.6), layout="constrained",
                            width_ratios=(1, 1, 1, 1.9))
for row, (name, pixels) in enumerate({"here": here, "there": there}.items()):
    filtered = torch.fft.ifft2(torch.fft.fft2(pixels[0, 0]) * psi[1, 2])
    titles = ("one of the wavelets", f"the garment {name}", "filtered, modulus")
    pictures = (wavelet, pixels[0, 0], filtered.abs())
    for axis, picture, title in zip(axes[row, :3], pictures, titles, strict=True):
        axis.imshow(picture, cmap="gray")
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
    means = scattering.double()(pixels).flatten()[1:]  # without the mean of the picture itself
    axes[row, 3].bar(range(24), means, color=(BLUE, VERMILLION)[row])
    axes[row, 3].set_title(f"means of all 24, the garment {name}", fontsize=10)
axes[1, 0].set_visible(False)
axes[1, 3].set_xlabel("wavelet: 3 sizes, 8 directions each")
figure.supxlabel(credit(data), fontsize=8)
plt.show()
apart = float((scattering(here) - scattering(there)).abs().max())
largest = float(scattering(here).max())
print(f"Between here and there the means differ by {apart:.0e}; the largest is {largest:.2f}.")

# %% [markdown]
# **What we saw.** The map moves along, its mean stays. The wavelet itself has mean zero, so without the modulus every
# mean would be zero (exercise 3): the modulus turns "a wave was here" into a number that does not cancel. Mallat
# built this into the *scattering transform*: two layers of it are a convnet whose filters nobody trained.

# %% [markdown]
# ## 5. Steps that follow the content
#
# Steps are good for something: a quarter of the numbers, twice as far a view. Can a layer step *and* move along? A
# step of 2 cuts a map into four interleaved maps, its polyphase components, and keeps always the same one. When the
# object moves by one pixel, another component holds what the kept one held before.
#
# **Guess first.** Which of the four should one keep?

# %%
figure, axes = plt.subplots(2, 5, figsize=(10, 4.8), layout="constrained",
                            width_ratios=(1.6, 1, 1, 1, 1))
places = {"at (10, 10)": (10, 10), "moved by one to the right": (10, 11)}
for row, (name, offset) in enumerate(places.items()):
    pixels = place.place(garment, torch.tensor([offset])).double() / 255
    y, x = strongest_phase(pixels, 2)[0].tolist()
    axes[row, 0].imshow(pixels[0, 0], cmap="gray")
    axes[row, 0].set_title(name, fontsize=10)
    parts = components(pixels[0, 0], 2).flatten(0, 1)  # (4, 28, 28)
    for phase, (axis, part) in enumerate(zip(axes[row, 1:], parts, strict=True)):
        axis.imshow(part, cmap="gray")
        keeps = ["stride"] * (phase == 0) + ["polyphase"] * (phase == 2 * y + x)
        axis.set_title(f"sum of squares {part.square().sum():.2f}\n{' and '.join(keeps)}",
                       fontsize=9)
        for side in axis.spines.values():
            side.set(color=BLUE, linewidth=3, visible=phase == 2 * y + x)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
figure.suptitle("The four polyphase components, and who keeps which", fontsize=10)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **The strongest one**, says adaptive polyphase sampling (Chaman and Dokmanic, 2021): the largest sum of squares,
# whichever it is. The strongest component moves along with the object. The rest is bookkeeping: padding must run
# around the torus, and the last layer takes the largest value or the mean over all places. That is `InvariantNet`.
#
# The other way is a trick, and a fair one if it is declared: **recentering** finds the object and moves it to one
# place before the network looks. It needs a background that is known to be empty. That is `RecenteredNet`.
#
# Both should be indifferent *before training*, with random weights. So let us ask them at all 841 placements, and
# compare the drift, the largest change of a logit, with the distance between the logits of different images: a model
# that says the same about everything is indifferent too, and good for nothing.


# %%
def everywhere(model, image, placement):
    """The logits of an image at each placement, in double precision: (placements, classes)."""
    found = []
    for part in placement.offsets().split(128):
        canvases = placement.place(image.expand(len(part), 1, 28, 28), part).double() / 255
        with torch.no_grad():
            found.append(model(canvases))
    return torch.cat(found)


def drift_and_spread(model, images, placement):
    """Largest change of a logit from the first placement, and largest distance of images there."""
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
    drift, spread = drift_and_spread(model, images, place)
    print(f"{name}: drift {drift:.0e} over {place.count} placements, images {spread:.2g} apart")
    assert drift < 1e-9 and spread > 1e-2

# %% [markdown]
# Rounding, in one case; in the other not even that, for the pixels behind the layer are the same to the bit.
#
# ## All of them side by side
#
# Now the whole lesson in one picture. Perceptron and convnet were trained on moved garments, thousands of them, each
# at a new place in every epoch: they were *told*. The third is the same convnet with its answers averaged over 4 x 4
# shifts, which cures what its two steps of 2 do, but not its last layers, which read positions. The others were
# *built*, and have random weights.
#
# **Guess first.** By how many powers of ten do the two kinds differ?

# %%
some = place.narrowed(step=by_setting(5, 3))  # prime to the stride of 4: all remainders occur
perceptron = trained_model("two-full", data, epochs=by_setting(2, None))
convnet = trained_model("two-conv", data, epochs=by_setting(1, None))
models = {"perceptron, moved images": perceptron, "convnet, moved images": convnet,
          "its mean over 4 x 4 shifts": repair(convnet, (1, 56, 56), method="phase-average"),
          "scattering": shiftscope.models.ScatteringLinear(),
          **untrained}
relative = {}
for name, model in models.items():
    drift, spread = drift_and_spread(model, images, some)
    relative[name] = drift / spread

# %%
FLOOR = 1e-17  # where a drift of exactly zero is drawn
figure, axis = plt.subplots(figsize=(8.5, 3.6), layout="constrained")
for row, value in enumerate(relative.values()):
    built = row >= 3
    axis.plot([FLOOR, max(value, FLOOR)], [row, row], color=MUTED, linewidth=1)
    marker, color = ("s", BLUE) if built else ("o", VERMILLION)
    axis.plot(max(value, FLOOR), row, marker, color=color, markersize=10)
    axis.annotate(f"{value:.1g}" if value else "0", (max(value, FLOOR), row), (10, -4),
                  textcoords="offset points")
axis.set_yticks(range(len(relative)), relative)
axis.set(xscale="log", xlim=(FLOOR / 2, 1e3), ylim=(len(relative) - 0.5, -0.5))
axis.set_xlabel(f"drift of the logits over {some.count} placements, "
                "as a share of their distance between images")
axis.set_title("Told (circles) or built (squares) not to care where", loc="left")
plt.show()

built = max(list(relative.values())[3:])
told = min(list(relative.values())[:2])
print(f"Told: {told:.2g} or more. Built: {built:.0e} or less.")
assert told > 1e-2
assert built < 1e-9

# %% [markdown]
# **What we saw, in one number:** models that were built to be indifferent change their logits by less than $10^{-9}$
# of what tells images apart; models that were told, by a good part of it.
#
# Indifferent does not mean good: these three know nothing yet. What they reach when they are trained stands on [the
# leaderboard](../leaderboard.md), and what can be done for a model that exists already is [lesson
# 5](5_audit_and_repair.py).
#
# ## Exercises
#
# **1.** Take the matrix that was trained on moved rows and replace it by `nearest_circulant` of itself. Will it
# remove noise better or worse from rows that it has not seen? Measure it on rows 1 to 1,000 of the test images, each
# moved.
#
# <details><summary>Solution</summary>
#
# ```python
# fresh = data.test.gather(torch.arange(1000))[:, 0, 14, 2:26].double() / 255
# random = torch.Generator().manual_seed(1)
# fresh = roll_each(fresh, torch.randint(PIXELS, (len(fresh),), generator=random))
# noisy_rows = fresh + NOISE * torch.randn(fresh.shape, dtype=fresh.dtype, generator=random)
# learned = matrices["moved rows"]
# for name, W in {"as trained": learned, "averaged": nearest_circulant(learned)}.items():
#     print(name, float((noisy_rows @ W.T - fresh).square().mean()))
# ```
#
# Better, by a little. What the average takes away is the part of the weights that depends on the place, and since the
# task does not, that part was chance: 24 estimates of each weight become one.
#
# </details>
#
# **2.** Build a layer that steps by 2, `x[..., ::2, ::2]`, followed by `amax((2, 3))`, and let random pictures roll
# by (0, 0), (0, 1), (1, 0), (2, 2) and (3, 5). When does the answer change? Put
# `shiftscope.layers.PolyphaseDownsample2d(2)` in its place.
#
# <details><summary>Solution</summary>
#
# ```python
# from shiftscope.layers import PolyphaseDownsample2d
#
# x = torch.rand(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
# polyphase = PolyphaseDownsample2d(2)
# for shift in ((0, 0), (0, 1), (1, 0), (2, 2), (3, 5)):
#     moved = x.roll(shift, (2, 3))
#     stride = (moved[..., ::2, ::2].amax((2, 3)) - x[..., ::2, ::2].amax((2, 3))).abs().max()
#     chosen = (polyphase(moved).amax((2, 3)) - polyphase(x).amax((2, 3))).abs().max()
#     print(shift, "stride", float(stride), "polyphase", float(chosen))
# ```
#
# With the stride, whenever a shift is odd in one of its directions: then another component is kept. Even shifts move
# the kept component by whole steps, and the largest value does not mind. With polyphase sampling never.
#
# </details>
#
# **3.** What are the 24 means of section 4 without the modulus? And would a square do instead of a modulus?
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
# Zero: the mean of a filtered picture is the mean of the picture times the mean of the filter. A square would do for
# indifference, too. By Parseval's identity it then measures the power in a range of frequencies, which is why it may
# be computed without going back from the Fourier transform; but it grows with the square of the contrast, so a few
# bright edges outshout all others, and small changes of them are large ones of the answer.
#
# </details>
