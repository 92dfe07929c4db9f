import pytest
import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.graph import TraceError, trace
from shiftscope.layers import PlacementAverage


def net(size):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(3 * size[0] * size[1], 4),
                         nn.LogSoftmax(1)).double().eval()


@pytest.mark.parametrize("of", ["logits", "probabilities"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (4, 2)])
def test_any_net_becomes_invariant_to_all_shifts(size, of):
    model, x = net(size), torch.rand(2, 2, *size, dtype=torch.float64)
    repaired = PlacementAverage(model, of=of).eval()
    with torch.no_grad():
        still = repaired(x)
        for dy in range(size[0]):
            for dx in range(size[1]):
                torch.testing.assert_close(repaired(x.roll((dy, dx), (2, 3))), still, rtol=0, atol=1e-12)
        assert (still[0] - still[1]).abs().max() > 1e-2
        if size != (1, 1):
            assert (model(x.roll((1, 1), (2, 3))) - model(x)).abs().max() > 1e-2


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_is_the_mean_over_all_shifts_in_chunks_of_any_size(batch_size):
    model, x = net((3, 4)), torch.rand(2, 2, 3, 4, dtype=torch.float64)
    outputs = torch.stack([model(x.roll((dy, dx), (2, 3))) for dy in range(3) for dx in range(4)])
    found = PlacementAverage(model, of="logits", batch_size=batch_size)(x)
    torch.testing.assert_close(found, outputs.mean(0), rtol=0, atol=1e-12)
    found = PlacementAverage(model, of="probabilities", batch_size=batch_size)(x)
    torch.testing.assert_close(found, outputs.exp().mean(0).log(), rtol=0, atol=1e-12)


def test_all_shifts_is_used_if_no_gradient_is_needed():
    calls = []

    def everywhere(pixels):
        calls.append(pixels.shape)
        return torch.tensor([[[1.0, 0.0], [3.0, 4.0]]])

    repaired, x = PlacementAverage(nn.Flatten(), all_shifts=everywhere, of="logits").eval(), torch.zeros(1, 1, 1, 2)
    assert repaired(x).tolist() == [[2.0, 2.0]] and calls == [(1, 1, 1, 2)]
    repaired(x.requires_grad_())
    repaired.train()(x.detach())
    assert len(calls) == 1


def test_vanishing_probabilities_give_finite_outputs():
    outputs = PlacementAverage(nn.Flatten(), of="probabilities")(torch.tensor([[[[0.0, 2000.0]]]]))
    assert outputs.isfinite().all() and outputs.allclose(torch.tensor(0.5).log())
    surely = PlacementAverage(nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).requires_grad_(False), of="probabilities")
    surely.model[1].weight.copy_(torch.tensor([[0.0], [-3000.0]]))
    assert surely(torch.ones(1, 1, 1, 1)).isfinite().all()


def test_gradients():
    x = torch.rand(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    for of in ("logits", "probabilities"):
        assert torch.autograd.gradcheck(PlacementAverage(net((2, 3)), of=of, batch_size=4), (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_of_the_outputs(dtype):
    found = PlacementAverage(net((3, 4)).to(dtype))(torch.rand(1, 2, 3, 4).to(dtype))
    assert found.dtype == dtype and found.isfinite().all()


def test_is_not_exported():
    with pytest.raises(TraceError, match="PlacementAverage cannot be exported: its graph would hold the netw.* 12"):
        trace(PlacementAverage(net((3, 4))), (2, 3, 4))


@pytest.mark.parametrize("call, message", [
    (lambda: PlacementAverage(nn.Flatten(), of="votes"), "of must be logits or probabilities, got 'votes'"),
    (lambda: PlacementAverage(nn.Flatten(), batch_size=0), "batch_size must be a positive integer, got 0"),
    (lambda: PlacementAverage(nn.Flatten())(torch.zeros(2, 3)), "PlacementAverage takes maps"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
