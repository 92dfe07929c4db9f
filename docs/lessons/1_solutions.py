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
# # Solutions to lesson 1
#
# The first cell runs the code of [the lesson](1_random_placements.py) without its figures, which takes as long as in
# the lesson. The solutions use its variables.

# %%
from lesson_setting import continue_lesson

globals().update(continue_lesson("1_random_placements"))

# %% [markdown]
# ## 1. How far?
#
# Take the perceptron trained on centered garments and shift the test garments by at most 1, 2, 4, 8 and 14 pixels. At
# which shift does its accuracy drop below 50 %? (`random.narrowed(max_shift=4)` keeps the positions at most 4 pixels
# from the middle.)

# %%
for shift in (0, 1, 2, 4, 8, 14):
    near = random.narrowed(max_shift=shift)
    value = accuracy(models["two-full", "centered"], "two-full", test, near)
    print(f"shifted by at most {shift:2d} pixels: accuracy {value:.1%}")

# %% [markdown]
# At about 3 pixels: 86 % without shifts, 63 % with up to 2 pixels, 42 % with up to 4, and 15 % over all positions. An
# image is 28 pixels wide.

# %% [markdown]
# ## 2. More neurons
#
# Does the number of neurons limit the accuracy? Train a perceptron with four times as many, `new =
# shiftscope.models.TwoFullNet(N=400)`, on random placements. Compare training *and* test accuracy: does it overfit or
# underfit?

# %%
wide = train(
    shiftscope.models.build_model("two-full", seed=0, N=400),
    "two-full",
    IMAGES,
    random,
)
seen = Subset(data.train, torch.arange(IMAGES)[: len(test)])
print(
    f"100 neurons: training {curves['two-full']['training'][-1]:.1%}, test "
    f"{curves['two-full']['test'][-1]:.1%}"
)
print(
    f"400 neurons: training {accuracy(wide, 'two-full', seen, random):.1%}, "
    f"test {accuracy(wide, 'two-full', test, random):.1%}"
)

# %% [markdown]
# Training and test accuracy both increase by about one point, to 72.6 % and 71.1 %: this is better, but it still
# *underfits*. The convnet reaches 75.6 % on test garments with about as many weights as the perceptron with 100
# neurons; this one has four times as many.

# %% [markdown]
# ## 3. One position per image
#
# So far, every training garment had a new random position each time it was used. Use *one* fixed random position per
# garment instead. How do training and test accuracy change, and why? (Create a dataset of complete canvases with
# `shiftscope.from_arrays`.)

# %%
def fixed_canvases(images, count, seed):
    """Return canvases with the first images, each at one fixed random position, and
    the labels.
    """
    indices = torch.arange(count)
    return random.place(
        images.gather(indices), random.sample(indices, seed=seed)
    ), images.labels[:count]


count = IMAGES // 4
fixed = shiftscope.from_arrays(
    *fixed_canvases(data.train, count, 0),
    *fixed_canvases(test, len(test), 1),
    class_names=data.class_names,
)
# the image fills the canvas: one position
full = shiftscope.Placement(image=(56, 56), canvas=(56, 56))
model = shiftscope.models.build_model("two-full", seed=0)
settings = shiftscope.TrainSettings(epochs=SHOWN["two-full"] // count, validation=0)
shiftscope.train(model, fixed, placement=full, settings=settings, name="two-full")
seen = Subset(fixed.train, torch.arange(min(count, 1000)))
training = accuracy(model, "two-full", seen, full)
new = accuracy(model, "two-full", fixed.test, full)
print(f"training {training:.1%}, test {new:.1%}")

# %% [markdown]
# Training accuracy is 100 %, test accuracy 58.3 %. This network overfits severely, because it can memorize a few
# thousand fixed canvases. With a new position each time, no canvas occurs twice and memorization does not help. Random
# placements therefore reduce overfitting, but they do not prevent underfitting.
