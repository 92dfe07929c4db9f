"""The findings of a repair: "exactly invariant" only if invariance is proven and measured."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.dense import NotInvariant, prove_invariance
from shiftscope.models.repair import METHODS, repair
from shiftscope.placement import Placement
from shiftscope.workflows.repair_checkpoint import repair_findings

from ..models.strided_nets import SHAPE, Saturated, conv

pytestmark = pytest.mark.slow

CIRCULAR = Placement(image=SHAPE[1:], canvas=SHAPE[1:], mode="circular")
CANVAS = Placement(image=(7, 9), canvas=SHAPE[1:])
PLACES = {"circular": CIRCULAR, "canvas": CANVAS, "crop": Placement(image=(15, 29), canvas=SHAPE[1:], mode="crop"),
          "fill": Placement(image=SHAPE[1:], canvas=SHAPE[1:], mode="fill", fill="edge")}


def dark(size, classes=5, count=6, most=50, mean=None):
    """Noise from black to dark gray; of the same mean, a pixel in [0, 1], where one is given."""
    pixels = torch.randint(most, (count, 1, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    for image in pixels.view(count, -1) if mean is not None else ():
        missing = round(mean * 255 * len(image)) - int(image.sum())
        image += missing // len(image)
        image[:missing % len(image)] += 1
    images = TensorImages(pixels, torch.arange(count) % classes)
    return Dataset(name="dark", class_names=tuple("abcde"[:classes]), train=images, test=images, source="-",
                   license="-")


def audits(before, after, place, **more):
    return [audit(model, dark(place.image, **more), placement=place) for model in (before, after)]


def strided():
    torch.manual_seed(0)
    return nn.Sequential(conv(1, 4, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 3 * 6, 5)).eval()


def proven(model, place):
    try:
        prove_invariance(model, place, (1, *place.image))
    except NotInvariant:
        return False
    return True


@pytest.mark.parametrize("mode", PLACES)
@pytest.mark.parametrize("method", METHODS)
def test_exactly_invariant_requires_a_proof_and_no_changed_prediction(method, mode):
    net, place = strided(), PLACES[mode]
    image = place.image if mode == "canvas" and method == "placement-average" else None
    repaired = repair(net, SHAPE, method=method, image=image).eval()
    before, after = audits(net, repaired, place)
    measured, *output = repair_findings(repaired, before, after, place)
    same, received = round(after.unanimity * after.images), round(before.unanimity * before.images)
    assert f"for {same} of 6 images (before: {received})" in measured and f"(mode {mode})" in measured
    exact = proven(repaired, place)
    assert exact == (mode in ("circular", "canvas") and method in ("polyphase", "recenter", "placement-average"))
    assert any(sentence.startswith(f"exactly invariant in mode {mode}: proven") for sentence in output) == (
        exact and same == after.images)
    if not exact:
        assert "exact" not in " ".join([*repaired.notes, measured, *output])
        assert bool(output) == (same == after.images) and all("it is not proven" in sentence for sentence in output)


def test_a_changed_prediction_contradicts_the_proof():
    net, repaired = strided(), repair(strided(), SHAPE, method="polyphase").eval()
    before, after = audits(net, repaired, CIRCULAR)
    contradicted = replace(after, unanimity=5 / 6)
    output = " ".join(repair_findings(repaired, before, contradicted, CIRCULAR))
    assert "exactly" not in output and "rounding changed predictions of 1 images" in output


def test_a_constant_model_without_a_proof_is_not_called_exact():
    class Branching(nn.Module):
        """Answers one class; its operations cannot be read."""

        def forward(self, x):
            ahead = 1e4 if x.sum() > 0 else 2e4
            return x[:, 0, :5, 0] + ahead * torch.tensor([1.0, 0, 0, 0, 0])

    before, after = audits(strided(), Branching(), CIRCULAR)
    assert after.unanimity == after.consistency == 1
    output = " ".join(repair_findings(Branching(), before, after, CIRCULAR))
    assert "exactly" not in output and "for other images it is not proven" in output


@pytest.mark.parametrize("ending", ["softmax", "sigmoid", "tanh", "logits"])
def test_a_saturated_phase_average_is_not_called_exact(ending):
    net = Saturated(ending).double()
    repaired = repair(net, SHAPE, method="phase-average").eval()
    level = 30 / 99  # where no class wins by brightness alone: position decides
    before, after = audits(net, repaired, CIRCULAR, most=140, mean=level)
    assert after.consistency < 1 and after.unanimity < 1
    output = [*repaired.notes, *repair_findings(repaired, before, after, CIRCULAR)]
    assert not any("exact" in sentence or "invariant" in sentence for sentence in output), output
