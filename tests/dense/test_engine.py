"""What an engine promises, what it refuses and how it says so."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftscope
from shiftscope.dense import NotDense, build_dense, prove_invariance
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.models import TwoConvTwoFullNet, TwoFullNet
from shiftscope.placement import Placement, texture

from ..helpers import Lambda

PLACE = Placement(image=(3, 4), canvas=(6, 8))
CHECKPOINTS = Path(__file__).parents[2] / "examples" / "checkpoints"


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


def ended(*layers, width):
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 2))


@pytest.mark.parametrize("model", [TwoConvTwoFullNet(canvas=(20, 24), channels=3), TwoFullNet(9, canvas=(20, 24),
                                                                                              channels=3)])
@pytest.mark.parametrize("background", [0, 50])
def test_the_course_models(model, background, brute):
    place = Placement(image=(9, 11), canvas=(20, 24), background=background)
    images = torch.randint(0, 256, (3, 3, 9, 11), dtype=torch.uint8)
    model = model.double()
    torch.testing.assert_close(build_dense(model, place, (3, 9, 11)).logits(images), brute(model, place, images),
                               rtol=1e-9, atol=1e-10)


def test_placements_are_in_the_order_of_the_offsets():
    class Position(nn.Module):  # one pixel of light: its row and its column on the canvas
        def forward(self, x):
            rows, columns = torch.arange(6.0, dtype=x.dtype), torch.arange(8.0, dtype=x.dtype)
            return F.linear(x.flatten(1), torch.stack([rows[:, None].expand(6, 8), columns.expand(6, 8)]).flatten(1))

    light = torch.zeros(1, 1, 3, 4, dtype=torch.uint8)
    light[..., 1, 2] = 255
    found = build_dense(Position(), PLACE, (1, 3, 4)).logits(light)[0]
    expected = PLACE.offsets() + torch.tensor([1, 2])
    torch.testing.assert_close(found, expected.float())
    predictions = found.view(4, 5, 2)  # what a flipped or a transposed map would give is something else
    assert not torch.allclose(predictions.flip(0, 1), predictions)
    assert not torch.allclose(predictions.transpose(0, 1).reshape(4, 5, 2), predictions)


def test_a_stride_of_two_reads_every_second_position_of_an_impulse():
    class Subsampled(nn.Module):
        def forward(self, x):
            return torch.cat((x[:, :, ::2, ::2].amax((2, 3)), x.amax((2, 3))), 1)

    place = Placement(image=(1, 1), canvas=(5, 7))
    found = build_dense(Subsampled(), place, (1, 1, 1)).logits(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8))
    seen = (place.offsets() % 2 == 0).all(1)
    torch.testing.assert_close(found[0], torch.stack((seen.float(), torch.ones(35)), 1))


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(-1), nn.Identity()])
def test_a_final_softmax_is_part_of_the_output(end, brute):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double()
    images = torch.randint(0, 256, (2, 1, 3, 4), dtype=torch.uint8)
    found = build_dense(nn.Sequential(body, end), PLACE, (1, 3, 4)).logits(images)
    torch.testing.assert_close(found, end(brute(body, PLACE, images).flatten(0, 1)).view_as(found), rtol=1e-9,
                               atol=1e-12)


def test_batches_of_any_size_in_passes_of_any_size():
    torch.manual_seed(0)
    model = ended(conv(1, 3, 3), nn.ReLU(inplace=True), width=72).double()
    engine = build_dense(model, PLACE, (1, 3, 4))
    images = torch.randint(0, 256, (7, 1, 3, 4), dtype=torch.uint8)
    before = images.clone()
    whole = engine.logits(images)
    engine._pass = 3
    torch.testing.assert_close(engine.logits(images), whole, rtol=1e-12, atol=1e-12)
    assert engine.name == "dense" and engine.images_per_call >= 1 and torch.equal(images, before)
    assert engine.logits(images[:0]).shape == (0, 20, 2) and engine.logits(images[:1]).shape == (1, 20, 2)
    assert not whole.requires_grad


def test_the_memory_limit_sets_images_per_call():
    wide = build_dense(ended(conv(1, 64, 3), width=64 * 24), PLACE, (1, 3, 4))
    narrow = build_dense(ended(conv(1, 2, 3), width=2 * 24), PLACE, (1, 3, 4))
    assert wide.images_per_call == 2**28 // (64 * 5 * 6 * 4) < narrow.images_per_call


def reads_again(self, x):
    y = self.a(x)
    return self.out((F.relu(y) - y).flatten(1))


def reads_a_part(self, x):
    y = self.a(x)
    part = y[:, 1:2]
    return self.out((F.relu(y) - part).flatten(1))


@pytest.mark.parametrize("function", [reads_again, reads_a_part])
def test_values_are_not_overwritten_before_their_last_use(function, brute):
    torch.manual_seed(0)
    model = Lambda(function, a=conv(1, 3, 2), out=nn.Linear(3 * 35, 2)).double()
    images = torch.randint(0, 256, (2, 1, 3, 4), dtype=torch.uint8)
    torch.testing.assert_close(build_dense(model, PLACE, (1, 3, 4)).logits(images), brute(model, PLACE, images),
                               rtol=1e-9, atol=1e-12)


def test_the_model_is_unchanged():
    model = ended(conv(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), width=72).train()
    model[2].eval()
    model[0].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    build_dense(model, PLACE, (1, 3, 4)).logits(torch.zeros(2, 1, 3, 4, dtype=torch.uint8))
    assert [module.training for module in model] == [True, True, False, True, True]
    assert [p.requires_grad for p in model.parameters()][:2] == [False, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), random)


REFUSED = {
    "transposed": (lambda: ended(nn.ConvTranspose2d(1, 2, 2), width=126), "0", "there is no rule for this operation"),
    "layer norm": (lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(48), nn.Linear(48, 2)), "1", "it normalizes over"),
    "position map": (lambda: Lambda(lambda self, x: self.out((x + self.map).flatten(1)), map=nn.Parameter(
        torch.rand(6, 8)), out=nn.Linear(48, 2)), "add", r"of shape \(6, 8\) differs between positions"),
    "rows": (lambda: nn.Sequential(nn.Linear(8, 3), nn.Flatten(), nn.Linear(18, 2)), "0", "it mixes rows or columns"),
    "batch": (lambda: Lambda(lambda self, x: self.out((x - x.mean(0, keepdim=True)).flatten(1)),
                             out=nn.Linear(48, 2)), "mean", "it mixes the images of a batch"),
    "half a batch": (lambda: Lambda(lambda self, x: self.out(x.reshape(-1, 24)).view(-1, 2), out=nn.Linear(24, 1)),
                     "reshape", "it mixes the images of a batch"),
    "random": (lambda: Lambda(lambda self, x: self.out(F.dropout(x, 0.5).flatten(1)), out=nn.Linear(48, 2)),
               "native_dropout", "it draws random numbers"),
    "noise": (lambda: Lambda(lambda self, x: self.out((x + torch.rand(6, 8)).flatten(1)), out=nn.Linear(48, 2)), "rand",
              "it draws random numbers"),
    "if": (lambda: Lambda(lambda self, x: x.flatten(1) if x.sum() > 0 else -x.flatten(1)), "Lambda",
           "Could not guard on data-dependent"),
    "raises": (lambda: Lambda(lambda self, x: x[:, :, :, :, None, 1].missing), "Lambda", "cannot be read"),
    "tuple": (lambda: Lambda(lambda self, x: (x.flatten(1), x)), "Lambda", "must return one tensor, it returns 2"),
    "map": (lambda: conv(1, 2, 3), "conv2d", r"must be \(batch, classes\), got \(2, 2, 4, 6\)"),
    "flat map": (lambda: nn.Flatten(), "reshape", "several positions of the window"),
    "wrong canvas": (lambda: TwoFullNet(canvas=(7, 7)), "TwoFullNet", "UsageError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_models_name_layer_and_reason(name):
    make, layer, reason = REFUSED[name]
    model = make()
    with pytest.raises(NotDense, match=reason) as caught:
        build_dense(model, PLACE, (1, 3, 4))
    assert caught.value.layer == layer and str(caught.value).startswith(f"the dense engine does not support {layer}: ")
    assert isinstance(caught.value, ShiftscopeError) and caught.value.reason in str(caught.value)
    assert model.training


def test_a_model_with_state_is_not_supported():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x.flatten(1) * self.calls

    model = Counting()
    with pytest.raises(NotDense, match="support Counting: it changes its own calls each time it is called"):
        build_dense(model, PLACE, (1, 3, 4))
    assert model.calls == 0


def test_functions_are_models_and_other_objects_raise():
    inner = nn.Linear(6 * 8, 3)
    images = torch.arange(24, dtype=torch.uint8).view(2, 1, 3, 4)
    found = build_dense(lambda pixels: inner(pixels.flatten(1)), PLACE, (1, 3, 4)).logits(images)
    known = build_dense(nn.Sequential(nn.Flatten(), inner), PLACE, (1, 3, 4)).logits(images)
    assert torch.equal(found, known)
    for none, said in ((nn.Flatten, "got the class Flatten: give an instance"), ("net", "got 'net' .str.")):
        with pytest.raises(UsageError, match=said):
            build_dense(none, PLACE, (1, 3, 4))
        with pytest.raises(UsageError, match=said):
            prove_invariance(none, PLACE, (1, 3, 4))


def test_ceil_mode_without_effect_is_supported(brute):
    model = ended(nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d((1, 2), ceil_mode=True), width=6).double()
    images = torch.randint(0, 256, (2, 1, 3, 4), dtype=torch.uint8)
    torch.testing.assert_close(build_dense(model, PLACE, (1, 3, 4)).logits(images), brute(model, PLACE, images),
                               rtol=1e-9, atol=1e-12)


def test_placements_without_a_field_are_not_supported():
    model = TwoFullNet(3, canvas=(30, 30))
    still = Placement(image=(3, 4), canvas=(30, 30), background=texture((30, 30)))
    with pytest.raises(NotDense, match="support background: a textured background does not move"):
        build_dense(model, still, (1, 3, 4))
    diagonal = Placement(image=(3, 4), canvas=(30, 30), offset_list=[(k, k) for k in range(27)])
    with pytest.raises(NotDense, match="support placement: the 27 offsets are few of the 729 pairs of their rows and"):
        build_dense(model, diagonal, (1, 3, 4))


def test_images_of_another_size_raise():
    with pytest.raises(UsageError, match=r"shape must end in \(3, 4\), the placement's image, got \(1, 4, 3\)"):
        build_dense(TwoFullNet(canvas=(6, 8)), PLACE, (1, 4, 3))
    engine = build_dense(TwoFullNet(canvas=(6, 8)), PLACE, (1, 3, 4))
    with pytest.raises(UsageError, match=r"images must be \(batch, 1, 3, 4\) for this engine, got \(2, 1, 4, 3\)"):
        engine.logits(torch.zeros(2, 1, 4, 3, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["two-conv", "two-full"])
def test_real_garments_in_float32(name, fashion_mnist_dir, brute):
    torch.manual_seed(0)
    images = shiftscope.load_dataset("fashion-mnist", data_dir=fashion_mnist_dir).test.gather(torch.arange(2))
    model = shiftscope.load(CHECKPOINTS / name)
    place = Placement(image=(28, 28), canvas=(56, 56), max_shift=4)
    found = build_dense(model, place, (1, 28, 28)).logits(images)
    expected = brute(model.double(), place, images).float()
    assert (found - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
