"""Does the prediction of a perceptron depend on the position of the garment?

Trains a perceptron on centered garments and another one on random placements, and prints the accuracy of both on
centered garments and on random placements. Takes about 20 seconds on two cores.

Usage: python examples/01_train_and_evaluate.py
"""

import shiftscope

data = shiftscope.load_dataset("garments")
placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
settings = shiftscope.TrainSettings(epochs=10)

for name, training_placement in (("centered", placement.center_only()), ("random", placement)):
    model = shiftscope.models.build_model("two-full", seed=0)
    shiftscope.train(model, data, placement=training_placement, settings=settings)
    accuracy = shiftscope.evaluate(model, data, placement=placement).accuracy
    print(f"trained {name:8s}   accuracy on centered images {accuracy['centered']:.1%}   "
          f"on random placements {accuracy['random']:.1%}")
