"""Every kind of model in every function: the correct result, or one sentence with the reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.auditing.equivariance import equivariance
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import ShiftscopeError
from shiftscope.evaluation.accuracy import evaluate
from shiftscope.models import OnnxModel, export_onnx, load, save
from shiftscope.models.repair import repair
from shiftscope.modules import as_module
from shiftscope.placement import Placement
from shiftscope.settings import SynthesisSettings, TrainSettings
from shiftscope.training import train
from shiftscope.visualization import attribute, visualize
from shiftscope.visualization.neighbors import find_neighbors

from .kinds import CANVAS, CLASSES, KINDS, SHAPE, Kind, net

pytestmark = pytest.mark.slow

PLACE = Placement(image=(5, 6), canvas=CANVAS)
IMAGES = torch.randint(0, 256, (11, 1, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
LABELS = torch.arange(11) % CLASSES
PARTS = TensorImages(IMAGES, LABELS)
DATA = Dataset(name="noise", class_names=("a", "b", "c", "d"), train=PARTS, test=PARTS, source="-", license="-")
PIXELS = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1))
ROUNDING = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""For outputs of size 1; other dtypes 1e-4."""


def canvases(offsets: torch.Tensor) -> torch.Tensor:
    """All images at some offsets, placed without the package: (P, N, 1, H, W) in [0, 1]."""
    placed = torch.zeros(len(offsets), len(IMAGES), *SHAPE, dtype=torch.float64)
    for place, (y, x) in enumerate(offsets.tolist()):
        placed[place, :, :, y:y + 5, x:x + 6] = IMAGES.double() / 255
    return placed


@torch.no_grad()
def plain_outputs(kind: Kind, pixels: torch.Tensor) -> torch.Tensor:
    """Outputs of the plain model, in batches of two equal images."""
    assert kind.plain is not None
    model = kind.plain()
    alone = kind.name == "OneAtATime"
    outputs = [model(pixels[i:i + 1].to(kind.dtype).clone()) if alone
             else model(pixels[[i, i]].to(kind.dtype))[:1] for i in range(len(pixels))]
    return torch.cat(outputs).double()


def same_labels(found: np.ndarray, outputs: torch.Tensor, near: float) -> None:
    """Predictions are the first maximum, except for near ties."""
    top = outputs.topk(2, -1).values
    sure = ((top[..., 0] - top[..., 1]) > near).numpy()
    assert sure.mean() > 0.4
    assert (found == outputs.argmax(-1).numpy())[sure].all()


def near(kind: Kind) -> float:
    return kind.near or ROUNDING.get(kind.dtype, 1e-4)


# ---------------------------------------------------------------------- functions and checks

def audited(kind: Kind, model: Any) -> None:
    for engine in ("auto", "brute"):
        found = audit(model, DATA, placement=PLACE, engine=engine)
        every = plain_outputs(kind, canvases(torch.from_numpy(found.offsets)).flatten(0, 1))
        same_labels(found.predictions, every.view(found.placements, len(IMAGES), CLASSES).transpose(0, 1), near(kind))
        assert found.model == kind.name


def evaluated(kind: Kind, model: Any) -> None:
    found = evaluate(model, DATA, placement=PLACE)
    middle = canvases(torch.tensor([PLACE.middle]))[0]
    same_labels(found.predictions_centered, plain_outputs(kind, middle), near(kind))
    assert found.model == kind.name


def trained(kind: Kind, model: Any) -> None:
    settings = TrainSettings(epochs=1, validation=1, batch_size=5, learning_rate=0.3, optimizer="sgd")
    before = [None if isinstance(weight, nn.parameter.UninitializedParameter) else weight.detach().clone()
              for weight in as_module(model).parameters()]
    found = train(model, DATA, placement=PLACE, settings=settings)
    after = list(as_module(model).parameters())
    assert found.model == kind.name and np.isfinite(found.history[0]["train_loss"])
    assert any(old is None or not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    if isinstance(model, nn.Module) and kind.plain is net:  # the same optimizer steps as the plain model
        plain = net()
        train(plain, DATA, placement=PLACE, settings=settings)
        for mine, theirs in zip(after, plain.parameters(), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-6)


def visualized(kind: Kind, model: Any) -> None:
    settings = SynthesisSettings(steps=16)
    found = visualize(model, "class:1", shape=SHAPE, settings=settings)
    outputs = plain_outputs(kind, torch.from_numpy(found.images))
    assert found.model == kind.name
    assert found.activations[0] == pytest.approx(float(outputs[0, 1]), abs=near(kind))
    assert found.activations[0] >= found.activations_start[0]


def attributed(kind: Kind, model: Any) -> None:
    found = attribute(model, PIXELS[:1], 2, method="saliency")
    assert kind.plain is not None
    pixels, alone = PIXELS[[0, 0]].to(kind.dtype).requires_grad_(), kind.name == "OneAtATime"
    plain = kind.plain()
    (plain(pixels[:1] if alone else pixels.clone())[0, 2]).backward()
    assert pixels.grad is not None
    assert found.maps[0] == pytest.approx(pixels.grad[0].sum(0).float().numpy(), abs=near(kind))
    assert found.model == kind.name


def neighbored(kind: Kind, model: Any) -> None:
    (found,) = find_neighbors(model, ["class:1"], DATA, placement=PLACE, k=3)
    every = plain_outputs(kind, canvases(PLACE.offsets()).flatten(0, 1)).view(-1, len(IMAGES), CLASSES)
    best = every[..., 1].amax(0).sort(descending=True).values[:3]
    scale = 1 + float(best.abs().max())
    assert found.top_activation[0] == pytest.approx(best.numpy(), abs=scale * near(kind))
    assert found.model == kind.name


def measured(kind: Kind, model: Any) -> None:
    found = equivariance(model, DATA, placement=PLACE, period=2, images=5)
    assert found.model == kind.name
    if kind.plain is net:
        plain = equivariance(net(), DATA, placement=PLACE, period=2, images=5)
        assert found.overall[-1] == pytest.approx(plain.overall[-1], abs=0.01)


def averaged(kind: Kind, model: Any, method: str, rolls: list[tuple[int, int]]) -> None:
    """The logarithm of the mean probabilities over some shifts."""
    repaired = repair(model, SHAPE, method=method)
    if kind.plain is None:
        return
    found = outputs_of(repaired, kind)
    views = torch.stack([plain_outputs(kind, PIXELS.roll(roll, (2, 3))).softmax(1) for roll in rolls])
    assert found == pytest.approx(views.mean(0).log().numpy(), abs=near(kind))


@torch.no_grad()
def outputs_of(model: nn.Module, kind: Kind, pixels: torch.Tensor = PIXELS) -> np.ndarray:
    return model(pixels.to(kind.dtype, copy=True)).double().numpy()


def repaired_by_placements(kind: Kind, model: Any) -> None:
    averaged(kind, model, "placement-average", [(y, x) for y in range(CANVAS[0]) for x in range(CANVAS[1])])


def repaired_by_phases(kind: Kind, model: Any) -> None:
    averaged(kind, model, "phase-average", [(y, x) for y in (0, 1) for x in (0, 1)])


def recentered(kind: Kind, model: Any) -> None:
    repaired = repair(model, SHAPE, method="recenter")
    if kind.plain is None:
        return
    corner, middle = (canvases(torch.tensor([offset]))[0][:3] for offset in ((0, 0), PLACE.middle))
    assert outputs_of(repaired, kind, corner) == pytest.approx(outputs_of(repaired, kind, middle), abs=near(kind))
    outputs = outputs_of(repaired, kind, middle)
    every = plain_outputs(kind, canvases(PLACE.offsets()).flatten(0, 1)).view(-1, len(IMAGES), CLASSES)[:, :3]
    assert np.abs(every.numpy() - outputs).max(2).min(0).max() < 10 * near(kind)  # as the plain model


def rewritten(kind: Kind, model: Any, method: str) -> None:
    repaired = repair(model, SHAPE, method=method)
    if kind.plain is None:
        return
    assert len(repaired.recipes) == 1 and np.isfinite(outputs_of(repaired, kind)).all()
    if kind.plain is net:
        expected = outputs_of(repair(net(), SHAPE, method=method), kind)
        assert outputs_of(repaired, kind) == pytest.approx(expected, abs=1e-5)


def kept(kind: Kind, model: Any, folder: Any) -> None:
    loaded = load(save(model, folder), model=kind.build())
    if kind.plain is None:
        return
    with torch.no_grad():
        pixels = PIXELS[:2].to(kind.dtype)
        outputs = torch.cat([loaded(pixels[i:i + 1].clone()) for i in (0, 1)]) if kind.name == "OneAtATime" else loaded(
            pixels.clone())
    assert outputs.double().numpy() == pytest.approx(plain_outputs(kind, PIXELS[:2]).numpy(), abs=near(kind))


def written(kind: Kind, model: Any, folder: Any) -> None:
    pytest.importorskip("onnxruntime")
    file = export_onnx(model, folder / "model.onnx", SHAPE)
    assert OnnxModel(file)(PIXELS).double().numpy() == pytest.approx(
        plain_outputs(kind, PIXELS).numpy(), abs=2 * near(kind))


FUNCTIONS: dict[str, Callable[[Kind, Any, Any], None]] = {
    "audit": lambda kind, model, folder: audited(kind, model),
    "evaluate": lambda kind, model, folder: evaluated(kind, model),
    "train": lambda kind, model, folder: trained(kind, model),
    "visualize": lambda kind, model, folder: visualized(kind, model),
    "attribute": lambda kind, model, folder: attributed(kind, model),
    "neighbors": lambda kind, model, folder: neighbored(kind, model),
    "equivariance": lambda kind, model, folder: measured(kind, model),
    "repair-blur": lambda kind, model, folder: rewritten(kind, model, "blur"),
    "repair-polyphase": lambda kind, model, folder: rewritten(kind, model, "polyphase"),
    "repair-phase-average": lambda kind, model, folder: repaired_by_phases(kind, model),
    "repair-placement-average": lambda kind, model, folder: repaired_by_placements(kind, model),
    "repair-recenter": lambda kind, model, folder: recentered(kind, model),
    "save": kept,
    "onnx": written,
}
WRITTEN = {"plain", "scripted", "exported for 2", "function", "int8", "half", "double", "one at a time",
           "no batch of one", "parametrized"}
"""The kinds that are exported to ONNX, which takes seconds each."""


@pytest.mark.parametrize("name, function", [(name, function) for name in KINDS for function in FUNCTIONS
                                            if function != "onnx" or name in WRITTEN])
@pytest.mark.filterwarnings("ignore")
def test_each_kind_of_model_in_each_function(name: str, function: str, tmp_path: Any) -> None:
    kind = KINDS[name]
    reason = kind.reason(function)
    model = kind.build()
    if reason is None:
        FUNCTIONS[function](kind, model, tmp_path)
        return
    with pytest.raises(ShiftscopeError) as refusal:
        FUNCTIONS[function](kind, model, tmp_path)
    sentence = str(refusal.value)
    assert reason in sentence
    assert len(sentence) < 400 and "\n" not in sentence and "\x1b" not in sentence
    assert not list(tmp_path.iterdir())
