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
# The first line of the first cell, `%matplotlib inline`, lets Jupyter show a figure that a cell ends with.

# %%
# %matplotlib inline
import os

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import shiftscope
from shiftscope import reporting
from shiftscope.course.cell_output import notebook_progress
from shiftscope.models import build_model, count_parameters
from shiftscope.visualization.parameters import class_weights, parameter_rows

# The real garments are fetched (30 MB) where no folder holds them. "garments" are drawn by
# Shiftscope, need no network, and are fewer. SMALL is for a quick look, and for the tests.
DATA = os.environ.get("COURSE_DATA", "fashion-mnist")
SMALL = bool(os.environ.get("COURSE_SMALL"))

# %% [markdown]
# ## Garments that move
#
# Each image has 28 x 28 pixels and lies on a canvas of 56 x 56, where it fits in 29 x 29 = 841 places. Every time
# an image is used in training it gets a new place.

# %%
data = shiftscope.load_dataset(DATA).limit(2000 if SMALL else None)
place = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
credit = reporting.image_credit(data.name, synthetic=data.synthetic)

first = torch.cat([(data.train.labels == label).nonzero()[:4, 0] for label in range(data.classes)])
canvases = place.place(data.train.gather(first), place.sample(first, seed=0))
reporting.sample_gallery(canvases.numpy(), data.train.labels[first].numpy(), data.class_names,
                         caption=credit)

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
perceptron_score = shiftscope.evaluate(perceptron, data, placement=place, name="two-full",
                                       trained="random")
reporting.classified_gallery(perceptron_score, limit=16)

# %% [markdown]
# ## What it likes to see
#
# We turn the question around. The weights stay as they are, and the *picture* climbs: which picture makes one
# class, or one neuron, answer as loudly as it can? Classes begin with an empty canvas, neurons with an even gray.

# %%
classes = shiftscope.visualize(perceptron, "class:all", class_names=data.class_names)
reporting.class_gallery(classes)

# %% [markdown]
# The network takes nearly all of them for their class, and we would recognize few. Mind the bright rims: of the real
# garments, one in 450 lights a given pixel at the very edge of the canvas, nearly every second one a pixel in its
# middle. So training hardly told the network what to make of light at the rim; the climb may light any pixel, and uses
# whatever weights stand there. Such a picture shows what a network *answers to*, not what it has seen.

# %%
neurons = shiftscope.visualize(perceptron, "fc1:all")
reporting.neuron_gallery(neurons)

# %% [markdown]
# ## Its weights
#
# For a neuron of the first layer there is no secret: the picture it likes is its own weights. Compare the two
# galleries. Few weights look like a garment. To know trousers at 841 places it would need a template for each; with
# 100 neurons in all it makes do with stripes and blots that are right more often than not.

# %%
templates = perceptron.fc1.weight.detach().view(-1, 1, *place.canvas)
reporting.weight_grid(templates.numpy(), title="perceptron: weights of its first layer")

# %%
pictures = torch.from_numpy(neurons.images).flatten(1) - 0.5
alike = F.cosine_similarity(pictures, templates.flatten(1)).median()
print(f"a neuron's picture and its weights: cosine {alike:.2f}")
print("(median of 100; 1: the same up to contrast; the pictures are smoothed, the weights not)")

# %% [markdown]
# The second layer says which neurons speak for a class (orange) and which against it (blue).

# %%
weights, bias = class_weights(perceptron, neurons=100, classes=data.classes)
reporting.class_neurons(weights.numpy(), bias.numpy(), data.class_names,
                        title="perceptron: which neurons speak for a class")

# %%
for row in parameter_rows(perceptron):
    print(f"{row.name:12} {row.shape!s:14} {row.count:8,} numbers,",
          f"mean {row.mean:+.4f}, std {row.std:.4f}")

# %% [markdown]
# ## Why a move matters so much
#
# To a perceptron a picture is a list of 3136 numbers. Move the garment, and other numbers of the list are lit: as
# lists, a T-shirt and the same T-shirt twelve pixels further have no more in common than a T-shirt and a bag.
#
# Now weigh not single pixels but *neighborhoods*, everywhere alike. A **wavelet** is a short wave in a soft
# window: it answers to edges of one direction and one size. Sliding it over the picture is a **convolution**, and a
# convolution has a property worth the whole course: when the picture moves, its answer moves with it, otherwise
# unchanged. Take the answer's size and average it over the canvas, and the place is gone, but for the little that the
# rim of the canvas cuts off; much of what the garment looks like is still there. Short waves see seams, longer ones
# sleeves and outlines: **many scales**.

# %%
def wavelet(length, angle, size=33):
    """A complex wave of `length` pixels in direction `angle`, in a Gaussian window; it sums to zero."""
    reach = torch.arange(size) - size // 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * (0.5 * length) ** 2))
    wave = torch.exp(2j * torch.pi * (x * torch.cos(angle) + y * torch.sin(angle)) / length)
    wave = window * (wave - (window * wave).sum() / window.sum())
    return wave / wave.abs().sum()


def strengths(pictures):
    """How strongly each wavelet answers at each pixel: (B, 1, H, W) -> (B, 12, H, W)."""
    angles = torch.arange(4) * torch.pi / 4
    bank = torch.stack([wavelet(length, angle) for length in (4, 8, 16) for angle in angles])
    around = F.pad(pictures, (16, 16, 16, 16))
    return torch.hypot(F.conv2d(around, bank.real[:, None]), F.conv2d(around, bank.imag[:, None]))


def laid(label, offset):
    """The first training image of a class, laid at an offset: (1, 1, H, W), pixels in [0, 1]."""
    image = data.train.gather((data.train.labels == label).nonzero()[:1, 0])
    return place.place(image, torch.tensor([offset])).float() / 255


here, there, bag = laid(0, (8, 8)), laid(0, (20, 20)), laid(8, (8, 8))
predictions = strengths(torch.cat((here, there, bag)))

figure, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
titles = ("the picture", "waves of 4 pixels", "of 8 pixels", "of 16 pixels")
for row, picture, answer in zip(axes, (here, there), predictions, strict=False):
    for panel, shown, title in zip(row, (picture[0, 0], *answer[[0, 4, 8]]), titles, strict=True):
        panel.imshow(shown, cmap="gray")
        panel.set_title(title, fontsize=9)
        panel.set_axis_off()
figure.suptitle("The garment moves, and what the wavelets answer moves with it")
_ = figure.supxlabel(credit, fontsize=7)


# %%
def apart(a, b):
    """How far two lists of numbers are apart, as a share of their norm."""
    return float((a - b).norm() / (0.5 * (a.norm() + b.norm())))


averages = predictions.mean((2, 3))
for what, (one, moved, other) in (("pixels", (here, there, bag)), ("12 averages", averages)):
    print(f"as {what}: a T-shirt is {apart(one, moved):.2f} from its moved copy,",
          f"{apart(one, other):.2f} from a bag")
assert apart(averages[0], averages[1]) < 0.1 * apart(averages[0], averages[2])

# %% [markdown]
# ## A convnet
#
# It learns its wavelets itself. Thirty filters of 5 x 5 slide over the canvas, the largest answer of each 2 x 2
# pixels is kept, thirty more filters look at the result, at twice the scale, and once more only the largest answers
# are kept; only then come neurons as in the perceptron. It has a sixth more parameters.

# %%
convnet = build_model("two-conv", classes=data.classes, seed=0)
settings = shiftscope.TrainSettings(epochs=4 if SMALL else None)
convnet_training = shiftscope.train(convnet, data, placement=place, settings=settings,
                                    progress=notebook_progress())
reporting.training_curves([perceptron_training, convnet_training])

# %%
reporting.weight_grid(convnet.conv1.weight.detach().numpy(), title="convnet: filters of its first layer")

# %%
convnet_score = shiftscope.evaluate(convnet, data, placement=place, name="two-conv",
                                    trained="random")
reporting.confusion_matrix(convnet_score)

# %%
convnet_classes = shiftscope.visualize(convnet, "class:all", class_names=data.class_names)
reporting.class_gallery(convnet_classes)

# %% [markdown]
# ## The comparison
#
# Same garments, same places, about as many parameters. Now we take single garments and ask both networks at each of
# the 841 places: is the answer right (white) or wrong (black)?

# %%
def right_places(model, image, label):
    """Whether the answer is right at each place: bool (29, 29), row dy and column dx."""
    offsets = place.offsets()
    canvases = place.place(image.expand(len(offsets), -1, -1, -1), offsets).float() / 255
    with torch.inference_mode():
        return (model.eval()(canvases).argmax(1) == label).view(29, 29)


networks = {"perceptron": perceptron, "convnet": convnet}
figure, axes = plt.subplots(3, 6, figsize=(9, 5), layout="constrained")
for column, index in zip(axes.T, range(6), strict=True):
    image, label = data.test.gather(torch.tensor([index])), int(data.test.labels[index])
    column[0].imshow(image[0, 0], cmap="gray")
    column[0].set_title(data.class_names[label], fontsize=9)
    for panel, (name, model) in zip(column[1:], networks.items(), strict=True):
        found = right_places(model, image, label)
        panel.imshow(found, cmap="gray", vmin=0, vmax=1)
        panel.set_title(f"{name}: {int(found.sum())} of 841", fontsize=8)
for panel in axes.flat:
    panel.set_xticks([])
    panel.set_yticks([])
figure.suptitle("The first six test images, and the places where the answer is right")
note = "A pixel of the maps is a place: its row and column say where the garment lies."
_ = figure.supxlabel(f"{note} {credit}", fontsize=7)

# %% [markdown]
# What differs is what the convnet need not learn: that a garment stays what it is when it moves. It does not know it
# fully either, for its last layers still weigh every place on its own. How much a network cares, and what makes it
# stop, is what Shiftscope is for.
#
# The closing numbers, on all test images: *moved* asks for each at one random place, *centered* for each in the middle.

# %%
for model, score in ((perceptron, perceptron_score), (convnet, convnet_score)):
    print(f"{reporting.model_title(score.model):10}  {count_parameters(model):7,} parameters   moved "
          f"{score.accuracy['random']:.1%}   centered {score.accuracy['centered']:.1%}")
lead = 100 * (convnet_score.accuracy["random"] - perceptron_score.accuracy["random"])
print(f"the convnet leads by {lead:.1f} points")
assert lead >= 3
