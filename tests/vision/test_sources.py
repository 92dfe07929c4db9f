"""Sources torchvision: and timm: with random weights, against a loop and against the libraries' own preprocessing."""

import numpy as np
import pytest
import torch
from PIL import Image

import shiftscope
from shiftscope.errors import CheckpointError, UsageError
from shiftscope.models import open_source
from shiftscope.workflows.audit_model import audit_model
from shiftscope.workflows.use_checkpoint import predict_files

SOURCES = ["torchvision:resnet18@none", "torchvision:efficientnet_b0@none", "timm:resnet10t@none",
           "timm:regnetx_002.pycls_in1k@none"]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def library(source):
    """The model with seeded weights, and its preprocessing, without any code of Shiftscope."""
    hub, _, name = source.removesuffix("@none").partition(":")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if hub == "torchvision":
            import torchvision

            weights = torchvision.models.get_model_weights(name).DEFAULT
            return torchvision.models.get_model(name).eval(), weights.transforms()
        import timm

        model = timm.create_model(name).eval()
    return model, timm.data.create_transform(**timm.data.resolve_data_config({}, model=model, use_test_size=True))


def prepared(photo, info):
    """A photograph prepared by the record alone."""
    width, height = photo.size
    short = info.resize
    size = (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
    photo = photo.resize(size, FILTERS[info.interpolation])
    rows, columns = info.crop
    left, top = round((size[0] - columns) / 2), round((size[1] - rows) / 2)
    return torch.from_numpy(np.array(photo.crop((left, top, left + columns, top + rows)))).permute(2, 0, 1)[None]


@pytest.mark.parametrize("source", SOURCES)
@torch.no_grad()
def test_record_and_model_equal_the_library(source):
    random = np.random.default_rng(0)
    photo = Image.fromarray(random.integers(0, 256, (30, 41, 3), dtype=np.uint8)).resize((613, 450), Image.BICUBIC)
    model, transform = library(source)
    opened = open_source(source)
    expected = transform(photo)[None]
    pixels = prepared(photo, opened.info) / 255
    mean, std = (torch.tensor(part)[:, None, None] for part in (opened.info.mean, opened.info.std))
    torch.testing.assert_close((pixels - mean) / std, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(opened.model(pixels), model(expected), atol=1e-3, rtol=1e-3)
    info = opened.info
    assert info.channels == 3 and info.antialias and info.input_size == info.crop
    assert len(info.class_names) == len(set(info.class_names)) == 1000
    assert info.class_names[1] == "goldfish" and info.wordnet_ids[1] == "n01443537"


@pytest.mark.parametrize("source", ["torchvision:resnet18@none", "timm:resnet10t@none"])
@torch.no_grad()
def test_audit_of_a_source_equals_a_plain_loop(source, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 44, 3), dtype=np.uint8)
    labels = np.arange(3)
    np.savez(tmp_path / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels,
             class_names=np.array([str(k) for k in range(1000)]))
    found = audit_model(source, {"data": f"npz:{tmp_path / 'd.npz'}", "canvas": (64, 64)}, step=12, engine="brute",
                        progress=shiftscope.progress.SilentProgress())["audit"]
    model, _ = library(source)
    mean, std = (torch.tensor(part)[:, None, None] for part in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    offsets = found.geometry.offsets
    for column, (dy, dx) in enumerate(np.asarray(offsets).tolist()):
        canvas = torch.zeros(3, 3, 64, 64)
        canvas[:, :, dy:dy + 40, dx:dx + 44] = pixels
        top = model((canvas - mean) / std).topk(2).values
        clear = top[:, 0] - top[:, 1] > 1e-5
        predictions = torch.from_numpy(found.predictions[:, column].astype(int))
        assert clear.any() and (model((canvas - mean) / std).argmax(1) == predictions)[clear].all()
    assert found.model == source


def test_predict_uses_the_names_of_the_source(tmp_path):
    Image.fromarray(np.full((50, 60, 3), 90, np.uint8)).save(tmp_path / "x.png")
    (found,) = predict_files("torchvision:resnet18@none", [tmp_path / "x.png"], device="cpu")
    assert len(found["scores"]) == 1000 and "goldfish" in found["scores"] and found["offset"] == [0, 0]


@pytest.mark.parametrize(("source", "message"), [
    ("torchvision:resnet19", "torchvision has no classifier 'resnet19'; did you mean 'resnet18'"),
    ("torchvision:fcn_resnet50", "torchvision has no classifier"),
    ("torchvision:resnet18@V9", "resnet18 has no weights 'V9'; .*IMAGENET1K_V1 and none"),
    ("timm:resnet55", "timm has no model 'resnet55'; did you mean 'resnet50'"),
    ("timm:resnet18.nothing", "resnet18 has no weights 'nothing'.*a1_in1k"),
])
def test_unknown_names(source, message):
    with pytest.raises(UsageError, match=message) as caught:
        open_source(source)
    assert len(str(caught.value)) < 400


def test_weights_that_cannot_be_downloaded_are_one_sentence(monkeypatch, tmp_path):
    from urllib.error import URLError

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: (_ for _ in ()).throw(URLError("no network")))
    with pytest.raises(CheckpointError, match=r"resnet18 cannot be loaded \(URLError.*no network.*resnet18@none"):
        open_source("torchvision:resnet18")


def test_a_random_model_takes_weights(tmp_path):
    model, _ = library("timm:resnet10t@none")
    for parameter in model.parameters():
        parameter.data.mul_(0.9)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    opened = open_source("timm:resnet10t@none", weights=tmp_path / "w.pt", normalize=((0.5,) * 3, (0.5,) * 3))
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(opened.model(pixels), model((pixels - 0.5) / 0.5), atol=1e-4, rtol=1e-4)
    assert opened.info.mean == (0.5, 0.5, 0.5)
