"""One result of each kind."""

import pytest

import shiftscope
from shiftscope.auditing import worst_case
from shiftscope.auditing.equivariance import equivariance
from shiftscope.models import TwoFullNet
from shiftscope.results import Record
from shiftscope.settings import SynthesisSettings, TrainSettings
from shiftscope.visualization import attribute, find_neighbors, measure_quality, unit_table


@pytest.fixture(scope="session")
def results() -> dict[str, Record]:
    """One result per kind: of a perceptron trained for two epochs on 28 x 28 synthetic garments on 33 x 31."""
    data = shiftscope.load_dataset("garments").limit(60)
    place = shiftscope.Placement(image=(28, 28), canvas=(33, 31))
    model = TwoFullNet(N=6, canvas=(33, 31))
    settings = TrainSettings(epochs=2, batch_size=30, learning_rate=0.003, precision="float32")
    training = shiftscope.train(model, data, placement=place, settings=settings)
    synthesis = shiftscope.visualize(model, "class:all", class_names=data.class_names,
                                     settings=SynthesisSettings(steps=4))
    beside = find_neighbors(model, ["class:all"], data, placement=place)[0]
    audit = shiftscope.audit(model, data, placement=place, engine="brute", name="two-full")
    found = [
        training, audit, synthesis, beside, shiftscope.evaluate(model, data, placement=place),
        measure_quality(model, synthesis, neighbors=beside), unit_table(model, data, placement=place),
        equivariance(model, data, placement=place, period=4), attribute(model, synthesis.images[:2], method="saliency"),
        worst_case(model, data, placement=place)]
    return {record.kind: record for record in found}
