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
# # 1 Random placements: perceptron and convnet
#
# A shirt is a shirt at any position in an image. Does a classifier trained on centered images recognize it at other
# positions, or must it be trained on them? And if it is trained on all positions and still makes many errors, does it
# overfit or underfit?
#
# This lesson compares two networks:
#
# - the **perceptron** `two-full`: 100 neurons, each with a weight for every pixel of the canvas, and ten outputs that
#   combine the neurons;
# - the **convnet** `two-conv`: two convolutional layers, which apply the same small filters at every position, each
#   followed by 2 x 2 max pooling, and then a perceptron like the first one.
#
# Both have about the same number of weights.
#
# **Time:** 45 min reading, 2 min computation, 30 min exercises.
#
# **Goals:**
#
# - Measure how accuracy depends on position.
# - Read a table of training and test conditions.
# - Tell overfitting from underfitting by two curves.
#
# **Prerequisites:** the terms training, training set and test set.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import torch
from lesson_setting import COLORS, by_setting, choose_data, credit

import shiftscope
from shiftscope.data import Subset
from shiftscope.models import count_parameters
from shiftscope.reporting import classified_gallery, model_title

# %%
data = choose_data()
random = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
centered = random.center_only()
print(
    f"{data.name}: {len(data.train):,} training and {len(data.test):,} test images "
    f"of {data.classes} classes"
)
print(
    f"{random.count} positions of an image of 28 x 28 pixels on a canvas of 56 x 56"
)
for name in COLORS:
    print(
        f"{model_title(name)}: "
        f"{count_parameters(shiftscope.models.build_model(name)):,} weights"
    )

# %% [markdown]
# ## Centered and randomly placed garments
#
# The upper row shows centered garments, as in most datasets. In the lower row, each garment is placed at one of the 841
# positions, chosen at random. Every garment is fully visible, and nothing else changes.

# %%
first = torch.arange(8)
# (8, 1, 28, 28), uint8
garments = data.test.gather(first)
# (8, 1, 56, 56)
rows = {
    title: placement.place(garments, placement.sample(first, seed=3))
    for title, placement in {"centered": centered, "random": random}.items()
}

# %% tags=["hide-input"]
figure, axes = plt.subplots(2, 8, figsize=(10, 2.9), layout="constrained")
for row, (title, canvases) in enumerate(rows.items()):
    for column, canvas in enumerate(canvases[:, 0]):
        axes[row, column].imshow(canvas, cmap="gray", vmin=0, vmax=255)
        axes[row, column].set(xticks=[], yticks=[])
        if row == 0:
            axes[row, column].set_title(
                data.class_names[data.test.labels[column]], fontsize=9
            )
    axes[row, 0].set_ylabel(title)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# ## Make a prediction
#
# Write down three accuracies before you continue. With ten classes, chance level is 10 %.
#
# 1. A perceptron is trained and tested on centered garments. What is its accuracy?
# 2. The same perceptron is tested on random placements. What is its accuracy now?
# 3. Another perceptron is trained and tested on random placements. What is its accuracy?

# %% [markdown]
# ## Accuracy on centered garments and on random placements
#
# Each network is trained twice, once on centered garments and once on random placements, and each of the four models is
# tested on both. In training on random placements, a garment gets a *new* random position every time it is used.

# %%
# training images, at most
IMAGES = min(by_setting(2_000, 16_000), len(data.train))
# training samples
SHOWN = {
    "two-full": by_setting(24_000, 160_000),
    "two-conv": by_setting(6_000, 48_000),
}
BATCH = {"two-full": 250, "two-conv": 60}
test = Subset(data.test, torch.arange(len(data.test))[: by_setting(500, 3_000)])


def new_model(name):
    """Return an untrained model, without the dropout that the convnet uses in long
    trainings.
    """
    return shiftscope.models.build_model(
        name, seed=0, **({"dropout": 0.0} if name == "two-conv" else {})
    )


def train(model, name, images, placement):
    """Train a model on the first `images` images, for SHOWN training samples in
    total.
    """
    chosen = replace(data, train=Subset(data.train, torch.arange(images)))
    settings = shiftscope.TrainSettings(
        epochs=SHOWN[name] // images, batch_size=BATCH[name], validation=0
    )
    shiftscope.train(
        model, chosen, placement=placement, settings=settings, name=name
    )
    return model.eval()


def evaluate(model, name, images, placement):
    """Evaluate the model on the images, each at one random position of `placement`.
    """
    return shiftscope.evaluate(
        model,
        replace(data, train=images, test=images),
        placement=placement,
        name=name,
    )


def accuracy(model, name, images, placement):
    """Return the accuracy on the images."""
    return evaluate(model, name, images, placement).accuracy["random"]


models = {}
for name in COLORS:
    for trained, placement in {"centered": centered, "random": random}.items():
        models[name, trained] = train(new_model(name), name, IMAGES, placement)

table = {
    key: [
        accuracy(model, key[0], test, placement) for placement in (centered, random)
    ]
    for key, model in models.items()
}

# %% tags=["hide-input"]
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for panel, name in zip(axes, COLORS, strict=True):
    accuracies = [table[name, "centered"], table[name, "random"]]
    panel.imshow(accuracies, cmap="Blues", vmin=0, vmax=1.2)
    for row in range(2):
        for column in range(2):
            panel.text(
                column,
                row,
                f"{accuracies[row][column]:.0%}",
                ha="center",
                va="center",
                fontsize=18,
            )
    panel.set(
        title=model_title(name),
        xticks=[0, 1],
        yticks=[0, 1],
        xticklabels=["tested on\ncentered", "tested on\nrandom placements"],
        yticklabels=["trained on\ncentered", "trained on\nrandom placements"],
    )
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %% [markdown]
# **Result.** The perceptron trained on centered garments has an accuracy of 86 % on centered garments and 15 % on
# random placements, close to chance level. It has learned which *pixels* are bright if a shirt is in the middle. Other
# pixels have separate weights, which this training did not adjust.
#
# The convnet trained on centered garments is hardly better: 89 % and 17 %. Convolution alone does not make a network
# translation-invariant: its last layers have separate weights for every position of the map, like a perceptron. (Lesson
# 5 covers networks that are invariant by construction.)
#
# Training on random placements, which is common practice, increases the accuracy on random placements to 70 % and 76 %.
# But it reduces the accuracy on centered garments to the same values. Why?

# %% [markdown]
# ## Errors per class
#
# First, compare the per-class accuracy of three models: the perceptron with centered garments, the perceptron with
# random placements, and the convnet with random placements.

# %%
centered_perceptron = evaluate(
    models["two-full", "centered"], "two-full", test, centered
)
perceptron = evaluate(models["two-full", "random"], "two-full", test, random)
convnet = evaluate(models["two-conv", "random"], "two-conv", test, random)

# %% tags=["hide-input"]
lines = {
    "perceptron, centered garments": (centered_perceptron, "0.6", "o"),
    "perceptron, random placements": (perceptron, COLORS["two-full"], "o"),
    "convnet, random placements": (convnet, COLORS["two-conv"], "s"),
}

figure, panel = plt.subplots(figsize=(8, 3.8), layout="constrained")
for title, (evaluation, color, marker) in lines.items():
    panel.plot(
        evaluation.per_class["random"],
        range(data.classes),
        marker,
        color=color,
        label=title,
        markersize=8,
        markerfacecolor="none",
        markeredgewidth=2,
    )
panel.set(
    yticks=range(data.classes),
    yticklabels=data.class_names,
    xlim=(0, 1),
    xlabel="accuracy",
)
panel.invert_yaxis()
panel.grid(alpha=0.3)
panel.legend(loc="lower left", fontsize=8)
figure.supxlabel(credit(data), fontsize=8)
plt.show()

# %%
for title, (evaluation, _, _) in lines.items():
    # rows: true classes, columns: predictions
    counts = evaluation.confusion.copy()
    counts[range(data.classes), range(data.classes)] = 0
    true, predicted = divmod(int(counts.argmax()), data.classes)
    print(
        f"{title}: the most frequent error is {data.class_names[true]} classified "
        f"as {data.class_names[predicted]}, "
        f"{counts[true, predicted]} of {evaluation.confusion[true].sum()} times"
    )

# %%
classified_gallery(perceptron, limit=16)

# %% [markdown]
# Most errors are between similar classes: shirt, pullover, coat and T-shirt, or ankle boot and sneaker. Random
# placements reduce the accuracy most for classes that differ in *details* such as a collar or a sleeve (shirt, coat,
# pullover), and least for classes with a distinct outline (ankle boot, bag, trouser). Lesson 2 shows the corresponding
# effect in the weights, which look blurred.

# %% [markdown]
# ## Overfitting or underfitting?
#
# There are two reasons for errors on test images.
#
# - The network **overfits**: it is accurate on training images but not on new ones. The sign is a large *gap* between
#   training and test accuracy. The remedy is more training images.
# - The network **underfits**: it is inaccurate on training images too. The sign is a *low training accuracy*. More
#   images do not help; a more suitable network may.
#
# The next cell measures both accuracies for an increasing number of training images. Each training uses the same number
# of training samples: with fewer images, each image is used more often. (The perceptron, which is faster, uses more
# samples than the convnet.) Training accuracy is measured on training images, each at a new random position.
#
# **Make a prediction**: will the two curves of the perceptron meet, and at what accuracy?

# %%
sizes = [IMAGES // part for part in by_setting((4, 1), (32, 8, 1))]
curves = {name: {"training": [], "test": []} for name in COLORS}
for name, curve in curves.items():
    for size in sizes:
        model = (
            models[name, "random"]
            if size == IMAGES
            else train(new_model(name), name, size, random)
        )
        seen = Subset(data.train, torch.arange(size)[: len(test)])
        curve["training"].append(accuracy(model, name, seen, random))
        curve["test"].append(accuracy(model, name, test, random))
    for size, training, new in zip(
        sizes, curve["training"], curve["test"], strict=True
    ):
        print(
            f"{model_title(name)}, {size:6,} images: training {training:.1%}, test "
            f"{new:.1%}, gap "
            f"{100 * (training - new):4.1f} points"
        )

# %% [markdown]
# **Result.** With 500 images both networks overfit: there is a gap of 9 or 10 points. More images close it: with 16,000
# images it is below 2 points. But the curves of the perceptron meet at a *low* accuracy: while the test accuracy
# increases a little, the training accuracy decreases toward it. After training on 16,000 garments, the perceptron
# misclassifies more than a quarter of these same garments. It does not overfit. It **underfits** the randomly placed
# garments.
#
# Underfitting does not mean that the network has too few neurons in general. With the same 100 neurons, the accuracy on
# *centered* garments is much higher, on training and on test images:

# %%
model = models["two-full", "centered"]
training = accuracy(
    model, "two-full", Subset(data.train, torch.arange(len(test))), centered
)
new = table["two-full", "centered"][0]
print(
    f"perceptron, centered garments: training {training:.1%}, test {new:.1%}, "
    f"gap {100 * (training - new):.1f} points"
)

# %% [markdown]
# The difference is the task. A neuron of the perceptron has one weight per pixel of the canvas. To detect a shirt at
# 841 positions it would need 841 templates. It has one, and the same pixels also have to represent trousers and shoes
# at 841 positions. The convnet applies its small filters at every position: a filter that detects a sleeve at the top
# left also detects it at the bottom right. The *test* accuracy of the convnet is higher than the *training* accuracy of
# the perceptron.
#
# Both trainings are short. After full training on 55,000 images, the test accuracies on random placements are 76 % for
# the perceptron and 85 % for the convnet.
#
# This result is for one perceptron with 100 neurons and one training recipe. Exercise 2 tests a perceptron with more
# neurons.

# %% [markdown]
# ## Summary

# %% tags=["hide-input"]
figure, panel = plt.subplots(figsize=(8, 4.8), layout="constrained")
for (name, curve), marker in zip(curves.items(), "os", strict=True):
    panel.plot(
        sizes,
        curve["training"],
        "--",
        marker=marker,
        mfc="white",
        color=COLORS[name],
        label=f"{model_title(name)}: training images, random placements",
    )
    panel.plot(
        sizes,
        curve["test"],
        "-",
        marker=marker,
        color=COLORS[name],
        label=f"{model_title(name)}: test images, random placements",
    )
    panel.fill_between(
        sizes, curve["test"], curve["training"], color=COLORS[name], alpha=0.12
    )
panel.axhline(
    new,
    color="0.4",
    linestyle=":",
    label="perceptron: test images, centered in training and test",
)
panel.set(
    xscale="log",
    xticks=sizes,
    xticklabels=[f"{size:,}" for size in sizes],
    xlabel="training images",
    ylim=(None, new + 0.02),
    ylabel="accuracy",
    title="The perceptron underfits randomly placed garments",
)
panel.minorticks_off()
panel.grid(alpha=0.3)
figure.legend(
    loc="outside lower center",
    ncols=2,
    fontsize=8,
    title=credit(data),
    title_fontsize=8,
)
plt.show()

# %%
underfit = new - curves["two-full"]["training"][-1]
print(
    "The accuracy of the perceptron on its randomly placed TRAINING garments is "
    f"{100 * underfit:.1f} points lower "
    "than on centered test garments."
)
assert underfit > 0.05, (
    "the perceptron does not underfit the randomly placed garments"
)

# %% [markdown]
# ## Exercises
#
# **1. How far?** Take the perceptron trained on centered garments and shift the test garments by at most 1, 2, 4, 8 and
# 14 pixels. At which shift does its accuracy drop below 50 %? (`random.narrowed(max_shift=4)` keeps the positions at
# most 4 pixels from the middle.)
#
# **2. More neurons.** Does the number of neurons limit the accuracy? Train a perceptron with four times as many, `new =
# shiftscope.models.TwoFullNet(N=400)`, on random placements. Compare training *and* test accuracy: does it overfit or
# underfit?
#
# **3. One position per image.** So far, every training garment had a new random position each time it was used. Use
# *one* fixed random position per garment instead. How do training and test accuracy change, and why? (Create a dataset
# of complete canvases with `shiftscope.from_arrays`.)
#
# [Solutions](1_solutions.py)
