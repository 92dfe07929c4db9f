import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.hooks import SoftmaxInput, capture, channels_last, find_layer, frozen, match_layer


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_capture_copies_outputs_before_in_place_changes():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    with torch.no_grad():
        model[0].bias[0] = -100.0
    pixels = torch.rand(5, 3, requires_grad=True)
    with capture(model, ["0", "1"]) as outputs:
        model(pixels)
    assert torch.equal(outputs["0"], F.linear(pixels, model[0].weight, model[0].bias))
    assert not (outputs["1"] < 0).any()
    (gradient,) = torch.autograd.grad(outputs["0"][2, 0], pixels)  # zero after the ReLU
    assert torch.equal(gradient[2], model[0].weight[0])


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_hooks_are_removed_also_after_errors(error):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    try:
        with capture(model, ["0", "1"]):
            assert hooks_of(model) == 2
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert hooks_of(model) == 0


def test_an_unknown_layer_leaves_no_hooks():
    model = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(UsageError, match="unknown layer of Sequential 'fc1'"), capture(model, ["0", "fc1"]):
        pass
    assert hooks_of(model) == 0


def test_a_unique_suffix_of_a_layer_name_is_sufficient():
    model = nn.ModuleDict({"body": nn.ModuleDict({"fc1": nn.Linear(2, 2), "out": nn.Linear(2, 2)}),
                           "head": nn.ModuleDict({"out": nn.Linear(2, 2)})})
    assert find_layer(model, "fc1") is find_layer(model, "body.fc1")
    with pytest.raises(UsageError, match=r"the layer name 'out' is ambiguous: body.out, head.out; give the full name"):
        find_layer(model, "out")
    with pytest.raises(UsageError, match="did you mean 'fc1'"):
        match_layer("fc2", ["fc1", "conv1"], "Net")


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_frozen_restores_modes_gradients_and_random_state(error):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.BatchNorm1d(4))
    model[1].eval()
    model[0].bias.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    try:
        with frozen(model), torch.no_grad():
            assert not model.training and not any(p.requires_grad for p in model.parameters())
            torch.rand(3)
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert torch.equal(torch.random.get_rng_state(), state)


class Ending(nn.Module):
    """A linear model with some end."""

    def __init__(self, end):
        super().__init__()
        self.linear, self.end = nn.Linear(3, 4), end

    def forward(self, x):
        return self.end(self.linear(x))


@pytest.mark.parametrize("end", [
    nn.LogSoftmax(1), nn.Softmax(1), lambda z: F.log_softmax(z, 1), lambda z: F.softmax(input=z, dim=1),
    lambda z: torch.log_softmax(z, 1), lambda z: z.softmax(1), nn.Identity(),
    lambda z: z + 0 * z.softmax(1)])  # a softmax inside is not the final one
def test_logits_are_the_input_of_a_final_softmax_however_it_is_called(end):
    model, pixels = Ending(end), torch.rand(2, 3)
    with SoftmaxInput() as watch:
        logits = watch.logits(model(pixels))
    assert torch.equal(logits, model.linear(pixels))


@pytest.mark.parametrize("change", [lambda p: p.mul_(torch.tensor([1.0, 5.0])), lambda p: p.clamp_(min=0.1),
                                    lambda p: p.__setitem__((slice(None), 0), 0.0) or p])
def test_a_softmax_that_is_changed_in_place_is_not_the_final_one(change):
    scores = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    with SoftmaxInput() as watch:
        output = change(scores.softmax(1))
    assert watch.logits(output) is output


def test_logits_are_recorded_in_inference_mode():
    with torch.inference_mode(), SoftmaxInput() as watch:
        scores = torch.ones(1, 2)
        assert watch.logits(scores.softmax(1)) is scores


def test_a_frozen_model_gets_the_same_random_numbers_and_generators_are_restored():
    model, synthetic = nn.Linear(1, 1), []
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for _ in range(2):
        with frozen(model):
            synthetic.append((random.random(), np.random.rand(), float(torch.rand(1))))
    assert synthetic[0] == synthetic[1]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


@pytest.mark.parametrize("relu", [F.relu, torch.relu, torch.Tensor.relu, nn.ReLU(), nn.ReLU(inplace=True), F.relu_])
def test_relus_leak_only_inside_the_block(relu):
    with SoftmaxInput(leak=0.25):
        assert relu(torch.tensor([-4.0, 2.0])).tolist() == [-1.0, 2.0]
    assert relu(torch.tensor([-4.0, 2.0])).tolist() == [0.0, 2.0]


def test_channels_last_restores_the_original_storage():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    before = {name: (p, p.data_ptr(), p.stride(), p.detach().clone()) for name, p in model.named_parameters()}
    with pytest.raises(ValueError), channels_last(model):
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(model[0].weight, before["0.weight"][3])
        raise ValueError
    for name, p in model.named_parameters():
        assert p is before[name][0] and p.data_ptr() == before[name][1] and p.stride() == before[name][2]


@pytest.mark.parametrize("dim, final", [(0, False), (-2, False), (1, True), (-1, True)])
@pytest.mark.parametrize("compute", [torch.Tensor.softmax, torch.softmax, F.log_softmax, F.softmax,
                                     lambda scores, dim: nn.Softmax(dim)(scores)])
def test_a_softmax_over_the_batch_is_not_the_final_one(compute, dim, final):
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    with SoftmaxInput() as watch:
        output = compute(scores, dim=dim)
    assert watch.logits(output) is (scores if final else output)
