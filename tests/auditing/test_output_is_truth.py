"""Models that change their output after the last layer are judged by what they return.

Each is compared with a reference that shares no code with the audit: placements cut with NumPy, the bare model, argmax.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.auditing import audit
from shiftscope.evaluation import evaluate
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow

IMAGE, CANVAS, CLASSES = (5, 4), (8, 9), 6


class Body(nn.Module):
    """A convolution and a linear layer, as most of a classifier."""

    def __init__(self, classes=CLASSES, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.fc = nn.Conv2d(1, 5, 3), nn.Linear(5 * 3 * 3, classes)
        with torch.no_grad():
            self.fc.weight *= 8
            canvases = torch.rand(200, 1, *CANVAS) * (torch.rand(200, 1, *CANVAS) > 0.4)
            self.fc.bias -= Body.forward(self, canvases).mean(0)  # so that no class wins everywhere

    def forward(self, pixels):
        return self.fc(F.max_pool2d(self.conv(pixels).relu(), 2).flatten(1))


class PriorInPlace(Body):
    """A softmax that is reweighted in place: the tensor that softmax returned is the output, with other numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("prior", torch.tensor([0.05, 4.0, 0.3, 2.0, 0.7, 1.5]))

    def forward(self, pixels):
        p = F.softmax(super().forward(pixels), 1)
        p *= self.prior
        return p


class Reordered(Body):
    """Log-probabilities whose columns are moved into the order of the dataset's classes by an in-place copy."""

    def forward(self, pixels):
        out = F.log_softmax(super().forward(pixels), dim=1)
        out[:] = out[:, [3, 5, 0, 1, 2, 4]].clone()
        return out


class Hierarchical(Body):
    """Two coarse classes reweight the fine ones; then values below a floor are set to it."""

    def __init__(self):
        super().__init__()
        self.coarse = Body(2, seed=5)

    def forward(self, pixels):
        fine = torch.softmax(super().forward(pixels), dim=-1)
        coarse = self.coarse(pixels).softmax(1)
        fine.view(-1, 2, 3).mul_(coarse[:, :, None])
        return fine.clamp_(min=0.01).div_(fine.sum(1, keepdim=True))  # probabilities again


class TwoHeads(Body):
    """The mean of two heads' probabilities, written into the first one's."""

    def __init__(self):
        super().__init__()
        self.other = Body(seed=3)

    def forward(self, pixels):
        p = nn.functional.softmax(super().forward(pixels), dim=1)
        return p.lerp_(self.other(pixels).softmax(1), 0.6)


class BiasAfterwards(Body):
    """Log-softmax, then a buffer is added in place: logit adjustment for classes of other frequencies."""

    def __init__(self):
        super().__init__()
        self.register_buffer("adjust", torch.tensor([0.0, 0.5, -0.3, 0.2, 0.6, -0.2]))

    def forward(self, pixels):
        return F.log_softmax(super().forward(pixels), 1).add_(self.adjust)


class Masked(Body):
    """Log-probabilities with -inf at two classes that are not allowed."""

    def forward(self, pixels):
        out = F.log_softmax(super().forward(pixels), 1)
        out[:, [0, 4]] = -torch.inf
        return out


class Underflow(Body):
    """The logarithm of a softmax that underflows: -inf at losing classes."""

    def forward(self, pixels):
        return F.softmax(60 * super().forward(pixels), 1).log()


class Quantized(Body):
    """Scores in steps of 1/4: many exact ties, also at the top."""

    def forward(self, pixels):
        return (super().forward(pixels) * 2).round() / 4


class WholeNumbers(Body):
    """Scores as whole numbers, int64."""

    def forward(self, pixels):
        return (super().forward(pixels) * 2).round().long()


class EndsInReLU(Body):
    """Zeros wherever no class is active."""

    def forward(self, pixels):
        return (super().forward(pixels) - 1).relu()


class Saturated(Body):
    """Sigmoids that are exactly 1 for several classes."""

    def forward(self, pixels):
        return torch.sigmoid(30 * super().forward(pixels))


MODELS = [PriorInPlace, Reordered, Hierarchical, TwoHeads, BiasAfterwards, Masked, Underflow, Quantized, WholeNumbers,
          EndsInReLU, Saturated]


def placement(mode):
    return {"canvas": Placement(image=IMAGE, canvas=CANVAS), "circular": Placement(image=CANVAS, canvas=CANVAS,
            mode="circular"), "crop": Placement(image=(11, 10), canvas=CANVAS, mode="crop"),
            "fill": Placement(image=CANVAS, canvas=CANVAS, mode="fill", fill="reflect", max_shift=2)}[mode]


def reference(model, images, place):
    """Labels (N, P) by NumPy placements, the bare model and argmax."""
    (H, W), labels = place.canvas, []
    for dy, dx in place.offsets().tolist():
        canvases = np.zeros((len(images), 1, H, W), np.uint8)
        if place.mode == "canvas":
            canvases[:, :, dy:dy + images.shape[2], dx:dx + images.shape[3]] = images
        elif place.mode == "crop":
            canvases[:] = images[:, :, dy:dy + H, dx:dx + W]
        elif place.mode == "fill":
            padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
            canvases[:] = padded[:, :, 2 - dy:2 - dy + H, 2 - dx:2 - dx + W]
        else:
            canvases[:] = np.roll(images, (dy, dx), (2, 3))
        with torch.no_grad():
            labels.append(model.eval()(torch.from_numpy(canvases).float() / 255).numpy().argmax(1))
    return np.stack(labels, 1)


@pytest.mark.parametrize("engine", ["auto", "brute"])
@pytest.mark.parametrize("mode", ["canvas", "circular", "crop", "fill"])
@pytest.mark.parametrize("kind", MODELS)
def test_labels_are_the_argmax_of_what_the_model_returns(kind, mode, engine, made):
    place, model = placement(mode), kind()
    data = made.noise(count=12, classes=CLASSES, shape=(1, *place.image), seed=2)
    truth = reference(model, data.test.images.numpy(), place)
    found = audit(model, data, placement=place, engine=engine)
    near = found.ties  # only there may rounding decide
    assert (found.predictions != truth).sum() <= near and (near == 0 or kind is Saturated)
    assert found.nonfinite == 0 and len(np.unique(truth)) > 1
    labels = data.test.labels.numpy()[:, None]
    if not near:
        assert found.mean_accuracy == pytest.approx((truth == labels).mean())
        assert found.worst_case_accuracy == (truth == labels).all(1).mean()
        assert found.unanimity == (truth == truth[:, :1]).all(1).mean()
    assert not any("for an image in another batch" in note or "does not always" in note for note in found.notes)


@pytest.mark.parametrize("kind", MODELS)
def test_evaluations_agree_with_audits(kind, made):
    place, model = placement("canvas"), kind()
    data = made.noise(count=40, classes=CLASSES, shape=(1, *IMAGE), seed=2)
    found, everywhere = evaluate(model, data, placement=place), audit(model, data, placement=place, engine="brute")
    columns = [np.flatnonzero((everywhere.offsets == offset).all(1))[0] for offset in found.offsets]
    same = found.predictions == everywhere.predictions[np.arange(40), columns]
    assert (~same).sum() <= found.ties and found.nonfinite == 0
    assert np.isfinite(found.confidence).all() and found.output_type == everywhere.output_type


@pytest.mark.parametrize("kind", [PriorInPlace, TwoHeads, BiasAfterwards, Underflow, Quantized, WholeNumbers])
def test_the_dense_engine_gives_what_the_model_returns(kind, made):
    place, model = placement("canvas"), kind()
    data = made.noise(count=12, classes=CLASSES, shape=(1, *IMAGE), seed=2)
    found = audit(model, data, placement=place, engine="dense")
    assert (found.predictions == reference(model, data.test.images.numpy(), place)).all()
    assert found.self_check["max_abs_logit_difference"] <= found.self_check["tolerance"]


@pytest.mark.parametrize(("kind", "output_type"), [
    (PriorInPlace, "logits"), (TwoHeads, "probabilities"), (Hierarchical, "probabilities"),
    (Reordered, "log-probabilities"), (Underflow, "log-probabilities"), (Quantized, "logits"), (Body, "logits")])
def test_the_output_type_is_determined_and_recorded(kind, output_type, made):
    data = made.noise(count=12, classes=CLASSES, shape=(1, *IMAGE), seed=2)
    assert audit(kind(), data, placement=placement("canvas")).output_type == output_type
