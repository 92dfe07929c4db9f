"""Models that are not classifiers of the dataset's classes are refused in one sentence."""

import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.errors import ShiftscopeError

from . import checks
from .registry import CANVAS, CLASSES, IMAGE, Base, Foreign


class Changed(Base):
    """A small convnet followed by a function."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(self.logits(x))


def meta():
    return Base().to("meta")


CASES = {
    "one output": (lambda: Changed(lambda z: z[:, :1]), "1"),
    "no class axis": (lambda: Changed(lambda z: z[:, 0]), "output_type="),
    "maps": (lambda: Changed(lambda z: z[:, :, None, None]), "batch, classes"),
    "two outputs": (lambda: Changed(lambda z: (z, z)), "tuple"),
    "a dictionary": (lambda: Changed(lambda z: {"first": z, "second": z}), "select_output="),
    "numbers of NumPy": (lambda: Changed(lambda z: z.numpy()), "ndarray"),
    "a class too many": (lambda: Base(classes=CLASSES + 1), f"{CLASSES + 1}"),
    "another canvas": (lambda: Base(canvas=(9, 9)), "x".join(f" {n} " for n in (1, *CANVAS)).strip()),
    "three channels": (lambda: Base(channels=3), "channels"),
    "an error of its own": (lambda: Changed(lambda z: 1 / 0), "ZeroDivisionError"),
    "meta device": (meta, "meta"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("command", ["audit", "evaluate"])
def test_one_sentence(name, command):
    make, words = CASES[name]
    data, placement = checks.subject(Foreign(name=name, make=make), "canvas")
    assert placement.image == IMAGE
    with pytest.raises(ShiftscopeError, match=words) as refused:
        getattr(shiftscope, command)(make(), data, placement=placement)
    assert len(str(refused.value)) < 400


def test_an_error_after_many_good_batches_is_raised():
    """A model that fails at one image in the middle: no results without it."""

    class Fails(Base):
        def forward(self, x):
            if bool(((x[:, 0, -1, -1] > 0) & (x.mean((1, 2, 3)) > 0.1)).any()):
                raise ValueError("an image that it cannot take")
            return self.logits(x)

    data, placement = checks.subject(Foreign(name="fails", make=Fails), "canvas")
    with pytest.raises((ShiftscopeError, ValueError), match="an image that it cannot take"):
        shiftscope.audit(Fails(), data, placement=placement, engine="brute")


def test_modes_and_gradients_are_restored():
    model = nn.Sequential(Base(), nn.Dropout(), nn.Linear(CLASSES, CLASSES).eval())
    data, placement = checks.subject(Foreign(name="kept", make=Base), "crop")
    before = [(module.training, [parameter.requires_grad for parameter in module.parameters()])
              for module in model.modules()]
    state, weights = torch.random.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    for engine in ("auto", "brute", "dense"):
        shiftscope.audit(model, data, placement=placement, engine=engine)
    shiftscope.evaluate(model, data, placement=placement)
    assert before == [(module.training, [parameter.requires_grad for parameter in module.parameters()])
                      for module in model.modules()]
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
