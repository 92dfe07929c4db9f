"""A torchvision and a timm model at every placement, against a loop that shares no code with the audit."""

import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.data import from_arrays


def resnet18():
    from torchvision.models import resnet18 as build

    model = build(weights=None, num_classes=10)
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return model


def regnet():
    import timm

    return timm.create_model("regnetx_002", pretrained=False, in_chans=1, num_classes=10, zero_init_last=False)


def tell_apart(model, images, place):
    """Random weights answer one class everywhere: shift and scale the classes so that several are answered."""
    head = next(part for part in reversed(list(model.modules())) if isinstance(part, nn.Linear))
    logits = torch.cat([model(place.place(images, offset.expand(4, 2)) / 255) for offset in place.offsets()])
    std, mean = torch.std_mean(logits, 0)
    head.bias.copy_((head.bias - mean) / std)
    head.weight.div_(std[:, None])


@pytest.mark.parametrize("engine", ["auto", "dense", "brute"])
@pytest.mark.parametrize("build", [resnet18, regnet])
@torch.no_grad()
def test_every_engine_agrees_with_a_plain_loop(build, engine):
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 1, 20, 24), generator=draw).to(torch.uint8)
    data = from_arrays(images, [0, 1, 2, 3], images, [0, 1, 2, 3], class_names=[str(k) for k in range(10)])
    torch.manual_seed(0)
    model = build()
    place = shiftscope.Placement(image=(20, 24), canvas=(32, 34), step=5)
    tell_apart(model.eval(), images, place)
    found = shiftscope.audit(model.train(), data, placement=place, expected=0.1, engine=engine)
    assert found.engine == engine or engine == "auto"
    assert "share the operations" in found.reason if found.engine == "dense" else "brute force" in found.reason
    assert model.training and len(set(found.predictions.flatten().tolist())) > 2
    model.eval()
    for column, (dy, dx) in enumerate(place.offsets().tolist()):
        canvas = torch.zeros(4, 1, 32, 34)
        canvas[:, :, dy:dy + 20, dx:dx + 24] = images.float() / 255
        logits = model(canvas)
        top = logits.topk(2).values
        clear = top[:, 0] - top[:, 1] > 1e-5
        predictions = torch.from_numpy(found.predictions[:, column].astype(int))
        assert clear.any() and (logits.argmax(1) == predictions)[clear].all()
