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
# # Solutions to lesson 2
#
# The first cell runs the code of [the lesson](2_look_inside.py) without its figures, which takes as long as in the
# lesson. The solutions use its variables.

# %%
from lesson_setting import continue_lesson

globals().update(continue_lesson("2_look_inside"))

# %% [markdown]
# ## 1. Random start
#
# Let `visualize` start from noise with two seeds (`start="random"`, `settings=SynthesisSettings(seed=1)` from
# `shiftscope.settings`). Are the two images of a class similar? For which network are they more similar?

# %%
from shiftscope.settings import SynthesisSettings

for name, model in models.items():
    pair = [
        visualize(
            model,
            "class:all",
            start="random",
            settings=SynthesisSettings(seed=seed),
            class_names=names,
            placement=placement,
        ).images.reshape(10, -1)
        for seed in (1, 2)
    ]
    similarity = [
        np.corrcoef(one, other)[0, 1] for one, other in zip(*pair, strict=True)
    ]
    print(
        f"{model_title(name)}: mean correlation {np.mean(similarity):.2f}, from "
        f"{min(similarity):.2f} to "
        f"{max(similarity):.2f}"
    )

# %% [markdown]
# The mean correlation is about 0.5 for the perceptron and 0.25 for the convnet, so the images differ considerably.
# Gradient ascent finds *one* of many images that maximize a class. The convnet has more of them, because it responds to
# a part at any position.

# %% [markdown]
# ## 2. Real garments
#
# Of the test images that one network classifies correctly, how many does the other network classify correctly as well?
# Compare this with the synthesized images.

# %%
indices = torch.arange(500)
real = (
    placement.place(data.test.gather(indices), placement.sample(indices, seed=1))
    / 255
)
hits = {
    name: predict(model, real) == data.test.labels[indices]
    for name, model in models.items()
}
for name, other in OTHER.items():
    print(
        f"of the images that the {model_title(name)} classifies correctly, the "
        f"{model_title(other)} classifies "
        f"{hits[other][hits[name]].float().mean():.0%} correctly"
    )

# %% [markdown]
# Real garments transfer between the networks: 96 % and 84 %. For plain gradient ascent it was one in ten.

# %% [markdown]
# ## 3. Shifts
#
# Roll the regularized images by 1, 2, 4 and 8 pixels (`torch.roll`). How many does the same network still assign to the
# intended class?

# %%
for name, model in models.items():
    for kind in ("plain", "regularized"):
        correct = [
            int(
                (
                    predict(model, syntheses[name, kind].roll(shift, 3)) == classes
                ).sum()
            )
            for shift in (0, 1, 2, 4, 8)
        ]
        print(
            f"{model_title(name)}, {kind}, rolled by 0, 1, 2, 4, 8 pixels: "
            f"{correct} of 10"
        )

# %% [markdown]
# Most of the plain images are lost after a shift by 8 pixels: 2 of 10 are still classified as intended for the
# perceptron, and 4 of 10 for the convnet. Of the regularized images, at least 8 of 10 are, for all shifts. This is the
# effect of shifting the images during the optimization.
