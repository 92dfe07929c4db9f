"""Claims of models and repairs, tested with random weights in float64 at all placements."""

import pytest
import torch
import torch.nn.functional as F

from shiftscope.dense import NotInvariant, prove_invariance
from shiftscope.models import DESCRIPTIONS, REGISTRY, TwoConvTwoFullNet
from shiftscope.models.claims import CLAIMS, REPAIR_CLAIMS, claims_of
from shiftscope.models.repair import METHODS, repair
from shiftscope.placement import Placement

pytestmark = pytest.mark.slow

MODES = ("canvas", "circular", "crop", "fill")
CANVAS = (24, 16)
EXACT, NONE, SEPARATION = 1e-9, 1e-6, 1e-2
SMALL = {"two-full": {"N": 8}, "recentered": {"widths": (3, 4, 5)}, "invariant": {"widths": (3, 4, 5)}}
"""Arguments that make the larger models small."""

IMAGE = {"canvas": (15, 11), "circular": (15, 11), "crop": (29, 19), "fill": CANVAS}
"""Image sizes by mode; none is square, and none but that of mode fill divides the canvas."""


def build(name: str) -> torch.nn.Module:
    return REGISTRY[name](canvas=CANVAS, channels=1, classes=4, **SMALL.get(name, {}))


def with_random_weights(model: torch.nn.Module) -> torch.nn.Module:
    """Random weights, biases and running statistics, without symmetries."""
    generator = torch.Generator().manual_seed(0)
    model = model.double().eval()
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if tensor.is_floating_point() and isinstance(tensor, torch.nn.Parameter):
                fan = tensor[0].numel() if tensor.ndim > 1 else 4
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * (2 / fan) ** 0.5)
            elif name.endswith("running_mean"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * 0.3)
    return model


def blobs(size: tuple[int, int]) -> torch.Tensor:
    """Three smooth images of different contrast, with little high-frequency content, like photographs."""
    coarse = torch.rand(3, 1, 5, 4, generator=torch.Generator().manual_seed(1))
    fine = F.interpolate(coarse, size=size, mode="bilinear", align_corners=True)
    return (255 * fine * torch.tensor([1.0, 0.5, 0.8]).view(3, 1, 1, 1)).to(torch.uint8)


@torch.no_grad()
def logits(model: torch.nn.Module, mode: str, every: int = 1) -> torch.Tensor:
    """Logits of three images at every placement (or every n-th), (3, P, K)."""
    place = Placement(image=IMAGE[mode], canvas=CANVAS, mode=mode, fill="reflect" if mode == "fill" else None)
    images, offsets = blobs(IMAGE[mode]), place.offsets()[::every]
    pixels = place.place(images.repeat_interleave(len(offsets), 0), offsets.repeat(3, 1)).double() / 255
    return torch.cat([model(part) for part in pixels.split(128)]).view(3, len(offsets), -1)


def drift(found: torch.Tensor) -> float:
    return float((found - found[:, :1]).abs().max())


def separation(found: torch.Tensor) -> float:
    """Smallest difference between the logits of two images."""
    first = found[:, 0]
    return min(float((first[a] - first[b]).abs().max()) for a in range(3) for b in range(a))


def check(level: str, found: torch.Tensor) -> None:
    assert separation(found) > SEPARATION  # a constant is trivially invariant
    if level == "exact":
        assert drift(found) <= EXACT
    else:
        assert drift(found) > NONE


def test_registry_descriptions_and_claims_name_the_same_models():
    assert set(CLAIMS) == set(REGISTRY) == set(DESCRIPTIONS)
    assert set(REPAIR_CLAIMS) == set(METHODS)
    for claims in (*CLAIMS.values(), *REPAIR_CLAIMS.values()):
        assert tuple(claims) == MODES
        for claim in claims.values():
            assert claim.level in ("exact", "approximate", "none")
            assert len(claim.why) > 20 and not claim.why.endswith(".") and claim.why[0].islower()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", list(REGISTRY))
def test_claims_of_models_hold(name, mode):
    check(claims_of(name)[mode].level, logits(with_random_weights(build(name)), mode))


def prove(model: torch.nn.Module, mode: str) -> None:
    prove_invariance(model, Placement(image=IMAGE[mode], canvas=CANVAS, mode=mode), (1, *IMAGE[mode]))


@pytest.mark.parametrize("name, mode", [(name, mode) for name, claims in CLAIMS.items() for mode in MODES
                                        if claims[mode].level == "exact"])
def test_exact_claims_of_models_are_proven(name, mode):
    prove(build(name).eval(), mode)


@pytest.mark.parametrize("method, mode", [(method, mode) for method, claims in REPAIR_CLAIMS.items() for mode in MODES
                                       if claims[mode].level == "exact"])
def test_exact_claims_of_repairs_are_proven(method, mode):
    prove(repair(build("two-conv"), (1, *CANVAS), method=method).eval(), mode)


@pytest.mark.parametrize("mode", MODES)
def test_inexact_models_are_not_proven(mode):
    """Negative control."""
    nets = [build(name) for name, claims in CLAIMS.items() if claims[mode].level != "exact"]
    nets += [repair(build("two-conv"), (1, *CANVAS), method=method) for method, claims in REPAIR_CLAIMS.items()
             if claims[mode].level != "exact"]
    assert len(nets) >= 4
    for net in nets:
        with pytest.raises(NotInvariant):
            prove(net.eval(), mode)


def relative_step(found: torch.Tensor, mode: str) -> float:
    """Change of the logits per pixel of shift to the right, relative to their difference between images."""
    columns = len(Placement(image=IMAGE[mode], canvas=CANVAS, mode=mode).axes[1])
    steps = found.unflatten(1, (-1, columns)).diff(dim=2).abs().mean()
    return float(steps / (found - found.mean(0)).abs().mean())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("method", list(METHODS))
def test_claims_of_repairs_hold(method, mode):
    net = with_random_weights(build("two-conv"))
    repaired = repair(net, (1, *CANVAS), method=method).eval()
    found = logits(repaired, mode, every=11 if method == "placement-average" else 1)  # each is 384 passes
    level = claims_of("two-conv", method)[mode].level
    check(level, found)
    if level == "approximate":
        before = relative_step(logits(net, mode), mode)
        assert relative_step(found, mode) < 0.95 * before  # a blur of 3 taps: 0.91 in mode canvas


def test_the_check_finds_a_false_claim():
    """Negative control: an inexact model fails the check for "exact", a constant fails every check."""
    found = logits(with_random_weights(TwoConvTwoFullNet(canvas=CANVAS, classes=4)), "canvas")
    with pytest.raises(AssertionError):
        check("exact", found)
    with pytest.raises(AssertionError):
        check("exact", torch.zeros_like(found))
    with pytest.raises(AssertionError):
        check("none", found[:, :1].expand_as(found))
