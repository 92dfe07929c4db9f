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
# # Does the prediction of a network depend on the position of the garment?
#
# A boot is a boot on the left or on the right of an image. A network must learn this, or be constructed accordingly.
# This notebook trains two small classifiers on garments at random positions on a larger canvas, visualizes what they
# have learned, and shows why one of them is better suited to the task.
#
# Open this file in JupyterLab with jupytext, or convert it to a notebook: `jupytext --to ipynb notebooks/course.py`.
# The first line of the first cell, `%matplotlib inline`, makes Jupyter display a figure at the end of a cell.

# %%
# %matplotlib inline
import os

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

import shiftscope
from shiftscope import reporting
from shiftscope.models import build_model, count_parameters
from shiftscope.visualization.parameters import class_weights, parameter_rows

# Fashion-MNIST is downloaded (30 MB) if its files are not found. "garments" is a smaller synthetic
# dataset that needs no network. SMALL is for a quick run and for the tests.
DATA = os.environ.get("COURSE_DATA", "fashion-mnist")
SMALL = bool(os.environ.get("COURSE_SMALL"))

# %% [markdown]
# ## Randomly placed garments
#
# Each image has 28 x 28 pixels and is placed on a canvas of 56 x 56, which has 29 x 29 = 841 positions for it. Every
# time an image is used in training, it gets a new random position.

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
# The perceptron has 3136 inputs, 100 neurons and ten outputs; each neuron has a separate weight for every pixel. It has
# no information about which pixels are neighbors: if all pixels were permuted in the same way, it would learn equally
# well.

# %%
perceptron = build_model("two-full", classes=data.classes, seed=0)
settings = shiftscope.TrainSettings(epochs=6 if SMALL else None)
perceptron_training = shiftscope.train(perceptron, data, placement=place, settings=settings)

# %%
perceptron_score = shiftscope.evaluate(perceptron, data, placement=place, name="two-full",
                                       trained="random")
reporting.classified_gallery(perceptron_score, limit=16)

# %% [markdown]
# ## Images that maximally activate a class or a neuron
#
# Now the weights are fixed and the *image* is optimized by gradient ascent: which image maximizes the score of a class,
# or the activation of a neuron? Optimization starts from an empty canvas for classes, and from uniform gray for
# neurons.

# %%
classes = shiftscope.visualize(perceptron, "class:all", class_names=data.class_names)
reporting.class_gallery(classes)

# %% [markdown]
# The network assigns nearly all of these images to their class, but to humans few are recognizable. Note the bright
# borders. Among the real garments, only one in 450 has a bright pixel at a given position of the border, compared with
# nearly every second one in the middle. The weights at the border were therefore hardly trained, and gradient ascent
# uses them regardless. Such an image shows what a network *responds to*, not what it was trained on.

# %%
neurons = shiftscope.visualize(perceptron, "fc1:all")
reporting.neuron_gallery(neurons)

# %% [markdown]
# ## The weights
#
# For a neuron of the first layer, the optimal image is proportional to its weights. Compare the two galleries. Few
# templates resemble a garment. To detect trousers at 841 positions, the perceptron would need a template for each
# position. With 100 neurons it uses stripes and blobs that are correct more often than not.

# %%
templates = perceptron.fc1.weight.detach().view(-1, 1, *place.canvas)
reporting.weight_grid(templates.numpy(), title="perceptron: weights of the first layer")

# %%
pictures = torch.from_numpy(neurons.images).flatten(1) - 0.5
alike = F.cosine_similarity(pictures, templates.flatten(1)).median()
print(f"cosine similarity of the image of a neuron and its weights: {alike:.2f}")
print("(median of 100; 1: the same up to contrast; the images are smoothed, the weights are not)")

# %% [markdown]
# The second layer shows which neurons increase the score of a class (orange) and which decrease it (blue).

# %%
weights, bias = class_weights(perceptron, neurons=100, classes=data.classes)
reporting.class_neurons(weights.numpy(), bias.numpy(), data.class_names,
                        title="perceptron: weights from neurons to classes")

# %%
for row in parameter_rows(perceptron):
    print(f"{row.name:12} {row.shape!s:14} {row.count:8,} numbers,",
          f"mean {row.mean:+.4f}, std {row.std:.4f}")

# %% [markdown]
# ## Why shifts have such a large effect
#
# For a perceptron an image is a vector of 3136 numbers. If the garment is shifted, other elements of the vector are
# bright. As vectors, a T-shirt and the same T-shirt shifted by twelve pixels are no more similar than a T-shirt and a
# bag.
#
# Instead of single pixels, consider *neighborhoods*, with the same weights at all positions. A **wavelet** is a short
# wave in a smooth window: it responds to edges of one orientation and one size. Applying it at every position of the
# image is a **convolution**, which has an important property: if the image shifts, the output shifts with it and is
# otherwise unchanged. The average of its absolute value over the canvas no longer depends on the position, except for
# small effects at the border of the canvas, but still describes the appearance of the garment. Short waves respond to
# seams, longer ones to sleeves and outlines: **multiple scales**.

# %%
def wavelet(length, angle, size=33):
    """Return a complex wave of `length` pixels in direction `angle`, in a Gaussian window; it sums to zero."""
    reach = torch.arange(size) - size // 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    window = torch.exp(-(x**2 + y**2) / (2 * (0.5 * length) ** 2))
    wave = torch.exp(2j * torch.pi * (x * torch.cos(angle) + y * torch.sin(angle)) / length)
    wave = window * (wave - (window * wave).sum() / window.sum())
    return wave / wave.abs().sum()


def strengths(pictures):
    """Return the absolute response of each wavelet at each pixel: (B, 1, H, W) -> (B, 12, H, W)."""
    angles = torch.arange(4) * torch.pi / 4
    bank = torch.stack([wavelet(length, angle) for length in (4, 8, 16) for angle in angles])
    around = F.pad(pictures, (16, 16, 16, 16))
    return torch.hypot(F.conv2d(around, bank.real[:, None]), F.conv2d(around, bank.imag[:, None]))


def placed(label, offset):
    """Return the first training image of a class, placed at an offset: (1, 1, H, W), pixels in [0, 1]."""
    image = data.train.gather((data.train.labels == label).nonzero()[:1, 0])
    return place.place(image, torch.tensor([offset])).float() / 255


here, there, bag = placed(0, (8, 8)), placed(0, (20, 20)), placed(8, (8, 8))
responses = strengths(torch.cat((here, there, bag)))

figure, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
titles = ("image", "waves of 4 pixels", "of 8 pixels", "of 16 pixels")
for row, image, response in zip(axes, (here, there), responses, strict=False):
    for panel, shown, title in zip(row, (image[0, 0], *response[[0, 4, 8]]), titles, strict=True):
        panel.imshow(shown, cmap="gray")
        panel.set_title(title, fontsize=9)
        panel.set_axis_off()
figure.suptitle("The responses of the wavelets shift with the garment")
_ = figure.supxlabel(credit, fontsize=7)


# %%
def apart(a, b):
    """Return the distance of two vectors relative to their norm."""
    return float((a - b).norm() / (0.5 * (a.norm() + b.norm())))


averages = responses.mean((2, 3))
for what, (one, shifted, other) in (("pixels", (here, there, bag)), ("12 averages", averages)):
    print(f"{what}: distance of a T-shirt to its shifted copy {apart(one, shifted):.2f},",
          f"to a bag {apart(one, other):.2f}")
assert apart(averages[0], averages[1]) < 0.1 * apart(averages[0], averages[2])

# %% [markdown]
# ## A convnet
#
# A convnet learns its filters. Thirty filters of 5 x 5 are applied at every position, and the maximum of each 2 x 2
# block is kept. Thirty more filters process the result at twice the scale, again followed by a maximum. Then follow
# fully connected layers as in the perceptron. The convnet has a sixth more parameters.

# %%
convnet = build_model("two-conv", classes=data.classes, seed=0)
settings = shiftscope.TrainSettings(epochs=4 if SMALL else None)
convnet_training = shiftscope.train(convnet, data, placement=place, settings=settings)
reporting.training_curves([perceptron_training, convnet_training])

# %%
reporting.weight_grid(convnet.conv1.weight.detach().numpy(), title="convnet: filters of the first layer")

# %%
convnet_score = shiftscope.evaluate(convnet, data, placement=place, name="two-conv",
                                    trained="random")
reporting.confusion_matrix(convnet_score)

# %%
convnet_classes = shiftscope.visualize(convnet, "class:all", class_names=data.class_names)
reporting.class_gallery(convnet_classes)

# %% [markdown]
# ## Comparison
#
# The garments and positions are the same, and the numbers of parameters are similar. Now evaluate both networks on
# single garments at each of the 841 positions: is the prediction correct (white) or incorrect (black)?

# %%
def correct_positions(model, image, label):
    """Return a bool tensor (29, 29), True where the prediction is correct; row dy and column dx."""
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
        correct = correct_positions(model, image, label)
        panel.imshow(correct, cmap="gray", vmin=0, vmax=1)
        panel.set_title(f"{name}: {int(correct.sum())} of 841", fontsize=8)
for panel in axes.flat:
    panel.set_xticks([])
    panel.set_yticks([])
figure.suptitle("The first six test images, and the positions with a correct prediction")
note = "Each pixel of the maps is a position: its row and column are the offset of the garment."
_ = figure.supxlabel(f"{note} {credit}", fontsize=7)

# %% [markdown]
# The convnet does not need to learn that the appearance of a garment is independent of its position. It is not fully
# invariant either, because its last layers have separate weights for every position. Shiftscope measures this
# dependence and provides methods to remove it.
#
# The final numbers, on all test images: *random* uses one random position per image, *centered* uses the middle.

# %%
for model, score in ((perceptron, perceptron_score), (convnet, convnet_score)):
    print(f"{reporting.model_title(score.model):10}  {count_parameters(model):7,} parameters   random "
          f"{score.accuracy['random']:.1%}   centered {score.accuracy['centered']:.1%}")
lead = 100 * (convnet_score.accuracy["random"] - perceptron_score.accuracy["random"])
print(f"the accuracy of the convnet is higher by {lead:.1f} points")
assert lead >= 3
