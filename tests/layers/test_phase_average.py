import pytest
import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.layers import CircularPad2d, GlobalMaxPool, PhaseAverage


def circular(stride, *, padding_mode="circular"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, padding_mode=padding_mode, stride=stride), nn.ReLU(),
                         nn.Conv2d(4, 4, 3, padding=1, padding_mode=padding_mode), GlobalMaxPool(), nn.Linear(4, 3),
                         nn.LogSoftmax(1)).double().eval()


def flat():
    torch.manual_seed(0)
    return nn.Sequential(CircularPad2d(1), nn.Conv2d(2, 3, 3, stride=2), nn.ReLU(), nn.Flatten(),
                         nn.Linear(3 * 3 * 4, 3)).double().eval()


@pytest.mark.parametrize("of", ["logits", "probabilities"])
@pytest.mark.parametrize("stride, size", [(1, (3, 5)), (2, (6, 8)), (3, (6, 9)), ((1, 2), (3, 8)), ((3, 2), (6, 4))])
def test_exact_at_all_shifts_if_the_net_is_invariant_to_shifts_by_its_stride(stride, size, of):
    repaired = PhaseAverage(circular(stride), stride, of=of).eval()
    x = 3 * torch.randn(2, 2, *size, dtype=torch.float64)
    with torch.no_grad():
        still = repaired(x)
        for dy in range(size[0]):
            for dx in range(size[1]):
                torch.testing.assert_close(repaired(x.roll((dy, dx), (2, 3))), still, rtol=0, atol=1e-9)
    assert (still[0] - still[1]).abs().max() > 1e-2


def test_is_the_mean_over_the_shifts_of_outputs_or_of_probabilities():
    net, x = circular(2), torch.rand(2, 2, 6, 8, dtype=torch.float64)
    outputs = torch.stack([net(x.roll((dy, dx), (2, 3))) for dy in (0, 1) for dx in (-1, 0, 1)])
    torch.testing.assert_close(PhaseAverage(net, (2, 3), of="logits")(x), outputs.mean(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(PhaseAverage(net, (2, 3), of="probabilities")(x), outputs.exp().mean(0).log(), rtol=0,
                               atol=1e-12)


@pytest.mark.parametrize("net, stride, size", [
    (circular(2, padding_mode="zeros"), 2, (6, 8)),  # a frame that the network detects
    (flat(), 2, (6, 8)),  # a head that reads positions
    (circular(2), 1, (6, 8)),  # not its stride
    (circular(2), 2, (7, 8)),  # a canvas that the stride does not divide
])
def test_not_invariant_if_the_net_is_not_invariant_to_shifts_by_its_stride(net, stride, size):
    repaired, x = PhaseAverage(net, stride).eval(), torch.rand(4, 2, *size, dtype=torch.float64)
    with torch.no_grad():
        moved = max(float((repaired(x.roll((dy, dx), (2, 3))) - repaired(x)).abs().max()) for dy in range(3)
                    for dx in range(3))
    assert moved > 1e-3


def test_trains_and_has_gradients():
    net, x = circular(2), torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for of in ("logits", "probabilities"):
        assert torch.autograd.gradcheck(PhaseAverage(net, 2, of=of), (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_of_the_outputs(dtype):
    found = PhaseAverage(circular(2).to(dtype), 2)(torch.rand(1, 2, 4, 6).to(dtype))
    assert found.dtype == dtype and found.isfinite().all()


@pytest.mark.parametrize("call, message", [
    (lambda: PhaseAverage(nn.Flatten(), 0), "stride must be a positive integer, or one for rows and o"),
    (lambda: PhaseAverage(nn.Flatten(), (2, 0)), r"stride must be .* got \(2, 0\)"),
    (lambda: PhaseAverage(nn.Flatten(), 2.0), "stride must be .* got 2.0"),
    (lambda: PhaseAverage(nn.Flatten(), 2, of="votes"), "of must be logits or probabilities, got 'votes'"),
    (lambda: PhaseAverage(nn.Identity(), 2)(torch.zeros(1, 1, 4, 4)), "one tensor .*, Identity returns"),
    (lambda: PhaseAverage(nn.Flatten(), 2)(torch.zeros(2, 3)), r"PhaseAverage takes maps \(batch, channel, height, w"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
