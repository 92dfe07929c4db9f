"""Does a perceptron care where the garment is?

Trains one on centered and one on moved garments and prints what moving costs. About 20 seconds on two cores.

Usage: python examples/01_train_and_evaluate.py
"""

import shiftscope

data = shiftscope.load_dataset("garments")
moved = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
settings = shiftscope.TrainSettings(epochs=10)

for name, place in (("centered", moved.center_only()), ("random", moved)):
    model = shiftscope.models.build_model("two-full", seed=0)
    shiftscope.train(model, data, placement=place, settings=settings)
    accuracy = shiftscope.evaluate(model, data, placement=moved).accuracy
    print(f"trained {name:8s} tested centered {accuracy['centered']:.1%}   tested on random placements {accuracy['random']:.1%}")
