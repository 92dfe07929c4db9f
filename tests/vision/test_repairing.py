"""Repairing of torchvision's networks as they are: random weights, strides, padding."""

import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.graph.editable import editable
from shiftscope.graph.sampling import Sampling
from shiftscope.models.repair import repair

ROUNDING = 1e-9  # relative to the logits; float64, tens of layers


def network(name: str, size: int = 32) -> torch.nn.Module:
    """A network of torchvision in float64 with batch statistics of its own, without which its logits are all alike."""
    import torchvision.models as zoo

    torch.manual_seed(0)
    net = getattr(zoo, name)(weights=None).train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches: here, the one
    with torch.no_grad():
        net(torch.rand(8, 3, size, size) * torch.linspace(0.2, 1, 8).view(-1, 1, 1, 1))
    return net.double().eval()


def pictures(size: int, count: int = 2) -> torch.Tensor:
    noise = torch.rand(count, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return noise * torch.linspace(0.3, 1, count, dtype=torch.float64).view(-1, 1, 1, 1)


def drift(model: torch.nn.Module, x: torch.Tensor, places: list[tuple[int, int]]) -> float:
    """Largest change of the logits under circular shifts, relative to the largest logit."""
    with torch.no_grad():
        still = model(x)
        return max(float((model(x.roll(place, (2, 3))) - still).abs().max()) for place in places) / float(
            still.abs().max())


def test_resnet18_becomes_exact_at_all_1024_shifts():
    net, x = network("resnet18"), pictures(32)
    repaired = repair(net, (3, 32, 32), method="polyphase")
    places = [(dy, dx) for dy in range(32) for dx in range(32)]
    assert drift(net, x, places[1:40:13]) > 1e-3
    assert drift(repaired, x, places) <= ROUNDING
    with torch.no_grad():
        logits = repaired(x)
    assert (logits[0] - logits[1]).abs().max() > 1e-2
    assert sum(value.numel() for value in repaired.parameters()) == sum(value.numel() for value in net.parameters())


@pytest.mark.parametrize("name, size", [
    ("resnet50", 64), ("mobilenet_v2", 64), ("densenet121", 64), ("shufflenet_v2_x0_5", 64), ("vgg11_bn", 32),
    ("googlenet", 64), ("convnext_tiny", 64),
])
def test_other_networks_become_exact(name, size):
    net, x = network(name, size), pictures(size)
    repaired = repair(net, (3, size, size), method="polyphase")
    assert drift(repaired, x, [(1, 0), (0, 1), (5, 9), (31, 17)]) <= ROUNDING
    with torch.no_grad():
        logits = repaired(x)
    assert (logits[0] - logits[1]).abs().max() > 1e-2


def test_resnet18_with_blur_keeps_its_sizes():
    net, x = network("resnet18", 64), pictures(64)
    repaired = repair(net, (3, 64, 64), method="blur")
    assert repaired(x).shape == (2, 1000)
    assert sum(module.__class__.__name__ == "BlurPool2d" for module in repaired.modules()) == 8


def test_the_strides_of_a_resnet():
    import torchvision.models as zoo

    net = zoo.resnet18(weights=None)
    assert Sampling(editable(net, (3, 64, 64))).strides == (32, 32)
    assert Sampling(editable(net, (3, 32, 32))).strides == (16, 16)  # layer 4 has one position, so it takes no step


def test_a_vision_transformer_is_refused_by_name():
    import torchvision.models as zoo

    net = zoo.VisionTransformer(image_size=32, patch_size=8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    with pytest.raises(UsageError, match="cannot be repaired with polyphase sampling, because of reshape"):
        repair(net.eval(), (3, 32, 32), method="polyphase")
