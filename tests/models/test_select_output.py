"""Scores among several outputs, and binary models, against predictions made by hand."""

from collections import namedtuple
from dataclasses import dataclass
from math import log

import numpy as np
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.errors import UsageError
from shiftscope.graph.export import export
from shiftscope.models import load, save
from shiftscope.models.adapt import Adapted, adapt
from shiftscope.models.select_output import two_columns
from shiftscope.outputs import predicted_classes

SHAPE = (1, 6, 5)
Named = namedtuple("Named", ["scores", "features"])


@dataclass
class Heads:
    logits: torch.Tensor
    other: torch.Tensor


class Plain:
    def __init__(self, **parts):
        vars(self).update(parts)


class Net(nn.Module):
    def __init__(self, form, classes=3):
        super().__init__()
        self.form, self.head = form, nn.Linear(30, classes)

    def forward(self, pixels):
        return self.form(self.head(pixels.flatten(1)), pixels)


FORMS = {
    "tuple": (lambda scores, pixels: (pixels, scores), None, 1),
    "list": (lambda scores, pixels: [scores, None], None, 0),
    "named tuple": (lambda scores, pixels: Named(scores, pixels), None, "scores"),
    "dictionary": (lambda scores, pixels: {"features": pixels, "scores": scores}, None, "scores"),
    "two heads, one of them logits": (lambda scores, pixels: {"aux": -scores, "logits": scores}, None, "logits"),
    "dataclass": (lambda scores, pixels: Heads(scores, -scores), None, "logits"),
    "object": (lambda scores, pixels: Plain(out=scores, features=pixels), None, "out"),
    "chosen position": (lambda scores, pixels: (-scores, scores), -1, -1),
    "chosen key": (lambda scores, pixels: {"a": scores, "b": -scores}, "a", "a"),
    "chosen attribute": (lambda scores, pixels: Named(scores, -scores), "scores", "scores"),
}


@pytest.fixture
def data():
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)
    labels = np.arange(8) % 3
    return shiftscope.from_arrays(images, labels, images, labels)


@pytest.mark.parametrize("name", FORMS)
def test_the_scores_are_found(name, data):
    form, key, _ = FORMS[name]
    net = Net(form)
    place = shiftscope.Placement(image=(4, 4), canvas=(6, 5))
    found = shiftscope.audit(net, data, placement=place, select_output=key)
    for column, (dy, dx) in enumerate(place.offsets().tolist()):
        canvas = torch.zeros(8, 1, 6, 5)
        canvas[:, :, dy:dy + 4, dx:dx + 4] = data.test.gather(torch.arange(8)) / 255
        expected = net.head(canvas.flatten(1)).argmax(1)
        assert found.predictions[:, column].tolist() == expected.tolist()
    score = shiftscope.evaluate(net, data, placement=place, select_output=key)
    assert score.predictions_centered.tolist() == found.predictions[:, len(place.offsets()) // 2].tolist() \
        or score.images == 8


@pytest.mark.parametrize("name", [name for name in FORMS if FORMS[name][1] is not None])
def test_a_checkpoint_keeps_the_choice(name, tmp_path):
    form, key, _ = FORMS[name]
    net = Net(form)
    folder = save(adapt(net, select_output=key, normalize=(0.5, 0.25)), tmp_path / "net")
    found, pixels = load(folder, model=Net(form)), torch.rand(2, *SHAPE)
    assert isinstance(found, Adapted) and found.select_output == key
    torch.testing.assert_close(found(pixels), net.head(((pixels - 0.5) / 0.25).flatten(1)))


def test_the_graph_of_an_adapted_model_holds_for_any_batch():
    for form in (lambda scores, pixels: scores, lambda scores, pixels: {"a": scores, "b": pixels}):
        net = adapt(Net(form), normalize=(0.5, 0.25), shape=SHAPE).eval()
        exported, pixels = export(net, SHAPE, any_batch=True).module(), torch.rand(5, *SHAPE)
        torch.testing.assert_close(exported(pixels), net(pixels))


@pytest.mark.parametrize(("form", "key", "message"), [
    (lambda scores, pixels: (scores, -scores), None, r"2 tensors of shape \(batch, classes\).*select_output="),
    (lambda scores, pixels: (pixels,), None, r"no tensor of shape \(batch, classes\)"),
    (lambda scores, pixels: {"a": scores, "b": scores}, "c", "'c', which does not exist.*dict of a: .2, 3."),
    (lambda scores, pixels: (scores, -scores), 2, "2, which does not exist"),
    (lambda scores, pixels: (scores, -scores), "count", "is not a tensor but builtin_function_or_method"),
    (lambda scores, pixels: Plain(a=scores), "__class__", "which does not exist"),
    (lambda scores, pixels: scores, 0, "0, which does not exist in the output of Net, a tensor of shape"),
    (lambda scores, pixels: (scores, "text"), 1, "is not a tensor but str"),
])
def test_outputs_that_cannot_be_selected(form, key, message, data):
    place = shiftscope.Placement(image=(4, 4), canvas=(6, 5))
    with pytest.raises(UsageError, match=message) as caught:
        shiftscope.audit(Net(form), data, placement=place, select_output=key)
    assert len(str(caught.value)) < 400


# ---------------------------------------------------------------------- binary models

LIMITS = {"logits": (0.0, lambda z: z), "probabilities": (0.5, torch.sigmoid),
          "log-probabilities": (log(0.5), nn.functional.logsigmoid)}


@pytest.mark.parametrize("output_type", LIMITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_label_is_one_exactly_above_the_limit(output_type, dtype):
    limit = torch.tensor(LIMITS[output_type][0], dtype=dtype)
    near = [limit]
    for direction in (-torch.inf, torch.inf):
        value = limit
        for _ in range(50):
            value = torch.nextafter(value, torch.tensor(direction, dtype=dtype))
            near.append(value)
    values = torch.cat([torch.stack(near), torch.tensor([-2.0, -0.1, 1e-30, 1e-3], dtype=dtype).clamp(
        min=0 if output_type == "probabilities" else -9, max=0 if output_type == "log-probabilities" else 9)])
    found = predicted_classes(two_columns(values, output_type))
    assert found.tolist() == (values > limit).long().tolist()
    assert predicted_classes(two_columns(torch.tensor([torch.nan, torch.inf], dtype=dtype), output_type)).eq(-1).all()


@pytest.mark.parametrize("output_type", LIMITS)
@pytest.mark.parametrize("shape", ["(B, 1)", "(B,)", "squeezed", "dictionary"])
def test_binary_models_are_audited(output_type, shape):
    limit, end = LIMITS[output_type]
    shapes = {"(B, 1)": lambda z: z, "(B,)": lambda z: z[:, 0], "squeezed": lambda z: z.squeeze(),
              "dictionary": lambda z: {"logits": z[:, 0]}}
    net = Net(lambda scores, pixels: shapes[shape](end(scores)), classes=1)
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4), dtype=np.uint8)
    labels = np.arange(9) % 2
    data = shiftscope.from_arrays(images, labels, images, labels)
    place = shiftscope.Placement(image=(4, 4), canvas=(6, 5))
    found = shiftscope.audit(net, data, placement=place, output_type=output_type)
    for column, (dy, dx) in enumerate(place.offsets().tolist()):
        canvas = torch.zeros(9, 1, 6, 5)
        canvas[:, :, dy:dy + 4, dx:dx + 4] = torch.from_numpy(images)[:, None] / 255
        assert found.predictions[:, column].tolist() == (end(net.head(canvas.flatten(1)))[:, 0] > limit).tolist()
    score = shiftscope.evaluate(net, data, placement=place, output_type=output_type)
    assert score.accuracy["centered"] == pytest.approx(found.middle_accuracy)
    if shape != "dictionary":
        with pytest.raises(UsageError, match="returns one number per image.*output_type="):
            shiftscope.audit(net, data, placement=place)
