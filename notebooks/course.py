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
# # Does a network care where the garment is?
#
# A boot is a boot, at the left of a picture or at the right. We know that; a network has to learn it, or to be
# built so. We train two small classifiers on garments that lie anywhere on a larger canvas, look at what is inside
# them, and see why one of the two has it easier.
#
# Open this file in JupyterLab with jupytext, or turn it into a notebook: `jupytext --to ipynb notebooks/course.py`.

# %%
# %matplotlib inline
import os

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import shiftscope
from shiftscope import reporting
from shiftscope.models import build_model, count_parameters
from shiftscope.notebook.live import notebook_progress
from shiftscope.visualization.parameters import class_weights, parameter_rows

# The real garments are fetched (30 MB) where no folder holds them. "garments" are drawn by Shiftscope, need no network,
# and are fewer. SMALL is for a quick look, and for the tests of this notebook.
DATA = os.environ.get("COURSE_DATA", "fashion-mnist")
SMALL = bool(os.environ.get("COURSE_SMALL"))

# %% [markdown]
# ## Garments that move
#
# Each image has 28 x 28 pixels and lies on a canvas of 56 x 56, where it fits in 29 x 29 = 841 places. Every time
# an image is used in training it gets a new one.

# %%
data = shiftscope.load_dataset(DATA).limit(2000 if SMALL else None)
place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
credit = reporting.image_credit(data.name, drawn=data.drawn)

first = torch.cat([(data.train.labels == label).nonzero()[:4, 0] for label in range(data.classes)])
canvases = place.place(data.train.gather(first), place.sample(first, seed=0))
reporting.sample_gallery(canvases.numpy(), data.train.labels[first].numpy(), data.class_names, caption=credit)

# %% [markdown]
# ## A perceptron
#
# 3136 pixels, 100 neurons, ten classes; each neuron weighs every pixel on its own. It does not know that two pixels
# side by side have anything to do with each other: shuffle all pixels in the same way, and it would learn just as
# well.

# %%
perceptron = build_model("two-full", classes=data.classes, seed=0)
settings = shiftscope.TrainSettings(epochs=6 if SMALL else None)
perceptron_training = shiftscope.train(perceptron, data, placement=place, settings=settings,
                                       progress=notebook_progress())
reporting.training_curves([perceptron_training])

# %%
perceptron_score = shiftscope.evaluate(perceptron, data, placement=place, name="two-full", trained="moved")
reporting.classified_gallery(perceptron_score, limit=16)

# %% [markdown]
# ## What it likes to see
#
# We turn the question around. The weights stay as they are, and the *picture* climbs: which picture makes one
# class, or one neuron, answer as loudly as it can?

# %%
classes = shiftscope.visualize(perceptron, "class:all", class_names=data.class_names)
reporting.class_gallery(classes)

# %%
neurons = shiftscope.visualize(perceptron, "fc1:all")
reporting.neuron_gallery(neurons)

# %% [markdown]
# ## Its weights
#
# For a neuron of the first layer there is no secret: the picture it likes is its own weights. Compare the two
# galleries. Few weights look like a garment. To know a trouser at 841 places, a template would be needed for each;
# with 100 neurons the perceptron makes do with stripes and blots that are right more often than not.

# %%
templates = perceptron.fc1.weight.detach().view(-1, 1, *place.canvas)
reporting.weight_grid(templates.numpy(), title="perceptron: weights of its first layer")

# %%
alike = F.cosine_similarity(torch.from_numpy(neurons.images).flatten(1) - 0.5, templates.flatten(1)).median()
print(f"a neuron's picture and its weights: cosine {alike:.2f} (median of 100; the pictures are smoothed)")

# %% [markdown]
# The second layer says which neurons speak for a class (orange) and which against it (blue).

# %%
weights, bias = class_weights(perceptron, neurons=100, classes=data.classes)
reporting.class_neurons(weights.numpy(), bias.numpy(), data.class_names,
                        title="perceptron: which neurons speak for a class")

# %%
for row in parameter_rows(perceptron):
    print(f"{row.name:12} {row.shape!s:14} {row.count:8,} numbers, mean {row.mean:+.4f}, deviation {row.deviation:.4f}")

# %% [markdown]
# ## Why a move matters so much
#
# To a perceptron a picture is a list of 3136 numbers. Move the garment by a few pixels, and nearly all of them
# change: as lists, a shirt and the same shirt twelve pixels further have no more in common than a shirt and a bag.
#
# Now weigh not single pixels but *neighbourhoods*, everywhere alike. A **wavelet** is a short wave in a soft
# window: it answers to edges of one direction and one size. Sliding it over the picture is a **convolution**, and a
# convolution has a property worth the whole course: when the picture moves, its answer moves with it, otherwise
# unchanged. Take the answer's size and average it over the canvas, and the place is gone altogether. Waves of
# several lengths see seams, sleeves and outlines: **many scales**.

# %%
def wavelet(length, angle, size=33):
    """A complex wave of `length` pixels in direction `angle`, in a Gaussian window; it sums to zero."""
    reach = torch.arange(size) - size // 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * (0.5 * length) ** 2))
    wave = torch.exp(2j * torch.pi * (x * torch.cos(angle) + y * torch.sin(angle)) / length)
    wave = window * (wave - (window * wave).sum() / window.sum())
    return wave / wave.abs().sum()


def sizes(pictures):
    """How strongly each wavelet answers at each pixel: (B, 1, H, W) -> (B, 12, H, W)."""
    bank = torch.stack([wavelet(length, angle) for length in (4, 8, 16) for angle in torch.arange(4) * torch.pi / 4])
    around = F.pad(pictures, (16, 16, 16, 16))
    return torch.hypot(F.conv2d(around, bank.real[:, None]), F.conv2d(around, bank.imag[:, None]))


shirt = data.train.gather((data.train.labels == 0).nonzero()[:1, 0])
bag = data.train.gather((data.train.labels == 8).nonzero()[:1, 0])
here, there, other = (place.place(image, torch.tensor([offset])).float() / 255 for image, offset in (
    (shirt, (8, 8)), (shirt, (20, 20)), (bag, (8, 8))))
answers = sizes(torch.cat((here, there, other)))

figure, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for row, picture, answer in zip(axes, (here, there), answers, strict=False):
    for place_in_row, shown, title in zip(row, (picture[0, 0], *answer[[0, 4, 8]]), (
            "the picture", "waves of 4 pixels", "of 8 pixels", "of 16 pixels"), strict=True):
        place_in_row.imshow(shown, cmap="gray")
        place_in_row.set_title(title, fontsize=9)
        place_in_row.set_axis_off()
figure.suptitle("The garment moves, and what the wavelets answer moves with it")
_ = figure.supxlabel(credit, fontsize=7)


# %%
def apart(a, b):
    """How far two lists are apart, as a share of their length."""
    return float((a - b).norm() / (0.5 * (a.norm() + b.norm())))


averages = answers.mean((2, 3))
for what, (one, moved, far) in (("pixels", (here, there, other)), ("12 averages", averages)):
    print(f"as {what}: a shirt is {apart(one, moved):.2f} from its moved copy, {apart(one, far):.2f} from a bag")
assert apart(averages[0], averages[1]) < 0.1 * apart(averages[0], averages[2])

# %% [markdown]
# ## A convnet
#
# It learns its wavelets itself. Thirty filters of 5 x 5 slide over the canvas, the largest answer of each 2 x 2
# pixels is kept, thirty more filters look at the result, at twice the scale; only then come neurons as in the
# perceptron. It has hardly more parameters.

# %%
convnet = build_model("two-conv", classes=data.classes, seed=0)
settings = shiftscope.TrainSettings(epochs=4 if SMALL else None)
convnet_training = shiftscope.train(convnet, data, placement=place, settings=settings, progress=notebook_progress())
reporting.training_curves([perceptron_training, convnet_training])

# %%
reporting.weight_grid(convnet.conv1.weight.detach().numpy(), title="convnet: filters of its first layer")

# %%
convnet_score = shiftscope.evaluate(convnet, data, placement=place, name="two-conv", trained="moved")
reporting.confusion_matrix(convnet_score)

# %%
convnet_classes = shiftscope.visualize(convnet, "class:all", class_names=data.class_names)
reporting.class_gallery(convnet_classes)

# %% [markdown]
# ## The comparison
#
# Same garments, same places, nearly as many parameters. What differs is what the convnet need not learn: that a
# garment stays what it is when it moves. It does not know it fully either, for its last layers still weigh every
# place on its own. How exactly a network cares, at each of the 841 places, and what makes it stop, is what
# Shiftscope is for.

# %%
for model, score in ((perceptron, perceptron_score), (convnet, convnet_score)):
    print(f"{reporting.model_title(score.model):10}  {count_parameters(model):7,} parameters   moved "
          f"{score.accuracy['random']:.1%}   centred {score.accuracy['centred']:.1%}")
lead = 100 * (convnet_score.accuracy["random"] - perceptron_score.accuracy["random"])
print(f"the convnet leads by {lead:.1f} points")
assert lead >= 3
