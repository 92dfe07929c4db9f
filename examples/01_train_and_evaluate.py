"""Does a perceptron's prediction depend on the position of the garment?

Trains one on centered garments and one on random placements, and prints the test accuracy of both on centered and on
randomly placed images. Takes about 20 seconds on two cores.

Usage: python examples/01_train_and_evaluate.py
"""

import shiftscope

data = shiftscope.load_dataset("garments")
random = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
settings = shiftscope.TrainSettings(epochs=10)

for name, placement in (("centered", random.center_only()), ("random", random)):
    model = shiftscope.models.build_model("two-full", seed=0)
    shiftscope.train(model, data, placement=placement, settings=settings)
    accuracy = shiftscope.evaluate(model, data, placement=random).accuracy
    print(f"trained {name:8s}   tested centered {accuracy['centered']:.1%}   tested random {accuracy['random']:.1%}")
