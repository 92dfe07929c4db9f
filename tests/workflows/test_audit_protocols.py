"""`shiftscope audit --protocol` on photographs, against the published estimate from random pairs of crops."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.cli import main
from shiftscope.errors import UsageError
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.protocols import PROTOCOLS, protocol_named
from shiftscope.results import Audit

MODEL = """
import torch
from torch import nn
with torch.random.fork_rng():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 7, padding=3), nn.ReLU(), nn.Conv2d(4, 4, 5, 4, padding=2), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)).double().eval()
"""
SMALL = MODEL.replace("7, 7, padding=3", "3, 2, padding=1").replace("5, 4, padding=2", "3, 2, padding=1")
PAIRS = 400
SIZES = ((300, 257), (341, 256), (260, 390))
"""(width, height): one of the crops starts at half a pixel."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("protocol")
    (root / "protocol_net.py").write_text(MODEL)
    (root / "small_net.py").write_text(SMALL)
    random = np.random.default_rng(4)
    (root / "photos").mkdir()
    for index, size in enumerate(SIZES):
        coarse = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        coarse.resize(size).save(root / "photos" / f"{index}.png")
    (root / "small").mkdir()
    for index in range(4):
        Image.fromarray(random.integers(0, 256, (30, 32, 3), dtype=np.uint8)).save(root / "small" / f"{index}.png")
    return root


@pytest.fixture(autouse=True)
def inside(root, monkeypatch):
    monkeypatch.chdir(root)


@pytest.fixture(scope="module")
def net():
    found: dict = {}
    exec(MODEL, found)
    return found["net"]


def center_crop(path):
    """Resize(256) and CenterCrop(256) of torchvision, uint8 (3, 256, 256)."""
    image = Image.open(path)
    width, height = image.size
    size = (256, 256 * height // width) if width <= height else (256 * width // height, 256)
    left, top = (round((side - 256) / 2) for side in size)
    image = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 256, top + 256))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def label(net, image, y, x):
    with torch.no_grad():
        return net(image[None, :, y:y + 224, x:x + 224].double() / 255).argmax(1).item()


@pytest.fixture(scope="module")
def audited(root, tmp_path_factory):
    """The record, and its folder."""
    out = tmp_path_factory.mktemp("audited") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["audit", "protocol_net:net", "--data", "folder:photos", "--protocol", "imagenet-consistency",
                     "--mode", "crop", "--canvas", "224", "--interpolation", "bilinear", "--quiet", "--out",
                     str(out)]) == 0
    return Audit.load(out), out


def test_imagenet_consistency_is_what_random_pairs_of_crops_estimate(audited, net):
    found, _ = audited
    random, equal = np.random.default_rng(0), []
    for index in range(len(SIZES)):
        image, drawn = center_crop(f"photos/{index}.png"), random.integers(0, 32, (PAIRS, 2, 2))
        equal += [label(net, image, *one) == label(net, image, *other) for one, other in drawn.tolist()]
        for y, x in drawn[:, 0].tolist():
            assert found.predictions[index, 32 * y + x] == label(net, image, y, x)
    assert found.placements == 1024 and 0.3 < found.consistency < 0.99
    error = np.sqrt(found.consistency * (1 - found.consistency) / len(equal))  # at most, over images
    assert abs(np.mean(equal) - found.consistency) < 4 * error
    middle = [label(net, center_crop(f"photos/{index}.png"), 16, 16) for index in range(len(SIZES))]
    assert found.predictions[:, found.geometry.column(found.offsets)].tolist() == middle


def test_record_and_report_name_the_protocol(audited, tmp_path):
    found, out = audited
    assert found.protocol == "imagenet-consistency"
    assert json.loads((out / "result.json").read_text())["protocol"] == "imagenet-consistency"
    assert main(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Protocol imagenet-consistency" in page and "88.36 %" in page and "ImageNet validation set" in page
    assert f"{100 * found.consistency:.2f} % (" in page and page.count("published</td>") == 8


def test_the_table_shows_the_published_rows(capsys, root, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["audit", "protocol_net:net", "--data", "folder:photos", "--protocol", "imagenet-consistency",
                 "--limit", "1", "--sample", "5", "--quiet"]) == 0
    output = capsys.readouterr().out
    assert "ResNet18, antialiased" in output and "88.36 %" in output and "estimated" in output and "Zhang" in output


def test_protocols_lists_all(capsys):
    assert main(["protocols"]) == 0
    text = capsys.readouterr().out
    for name, protocol in PROTOCOLS.items():
        assert name in text and protocol.definition in text and protocol.source in text
    assert main(["protocols", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["protocols"]
    assert [one["name"] for one in found] == list(PROTOCOLS) and found[0]["published"][1]["percent"] == [71.67, 88.36]


@pytest.mark.parametrize(("option", "message"), [
    (("--mode", "canvas"), "--mode canvas contradicts the protocol imagenet-consistency, which sets crop"),
    (("--fill", "edge"), "--fill edge contradicts the protocol imagenet-consistency, which does not have this option"),
    (("--canvas", "200"), "--canvas 200x200 contradicts the protocol imagenet-consistency, which sets 224x224"),
    (("--image-size", "256", "300"), "--image-size 256x300 contradicts"),
    (("--resize", "stretch"), "--resize stretch contradicts"), (("--shorter-side", "300"), "--shorter-side 300 contra"),
    (("--interpolation", "bicubic"), "--interpolation bicubic contradicts"), (("--step", "2"), "--step 2 contradicts"),
    (("--max-shift", "3"), "--max-shift 3 contradicts")])
def test_options_that_contradict_a_protocol_are_refused(capsys, tmp_path, option, message):
    out = tmp_path / "out"
    assert main(["audit", "protocol_net:net", "--data", "folder:photos", "--protocol", "imagenet-consistency", *option,
                 "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said) < 400 and not out.exists()


@pytest.mark.parametrize(("line", "message"), [
    (("--data", "folder:small", "--protocol", "cifar-s-consistency"), "needs images of 32 x 32 pixels"),
    (("--data", "garments:20,10", "--protocol", "cifar-c-consistency"), "and these have 28 x 28"),
    (("--data", "garments:20,10", "--protocol", "imagenet-consistency"), "needs images of 256 x 256 pixels"),
    (("--data", "garments:20,10", "--protocol", "afc-worst-case"), "needs images of at least 32 x 32 pixels"),
    (("--data", "folder:photos", "--protocol", "imagenet"), "unknown protocol 'imagenet'")])
def test_data_of_another_kind_are_refused(capsys, line, message):
    assert main(["audit", "protocol_net:net", *line]) == 2
    said = capsys.readouterr().err
    assert message in said and len(said) < 400


def test_image_files_are_prepared_for_the_worst_case(capsys, root):
    assert main(["audit", "protocol_net:net", "--data", "folder:photos", "--protocol", "afc-worst-case", "--sample",
                 "3", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["placement"]["image"] == found["placement"]["canvas"] == [224, 224]
    assert "shorter side of 256 pixels (bicubic), center cropped to 224 x 224" in found["preparation"]


def test_a_model_with_another_input_is_refused(capsys, tmp_path):
    with pytest.raises(UsageError, match="input of 224 x 224 pixels .* on these images, and that of net is 299"):
        protocol_named("imagenet-consistency").check_input((299, 299), (224, 224), "net")
    place = Placement(image=(28, 28), canvas=(56, 56))
    folder = save(TwoFullNet(), tmp_path / "net", provenance=Provenance(
        name="two-full", dataset="garments", class_names=list("abcdefghij"), placement=place.to_dict()))
    assert main(["audit", str(folder), "--data", "folder:photos", "--protocol", "imagenet-consistency"]) == 2
    said = capsys.readouterr().err
    assert "got (2, 3, 224, 224): choose that canvas" in said


def test_worst_case_alone_follows_a_protocol_with_these_metrics(capsys):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    pixels[:4] = pixels[:4, :1, :1]  # of one color, which no circular shift changes
    found: dict = {}
    exec(SMALL, found)
    with torch.no_grad():
        labels = found["net"](torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255).argmax(1).numpy()
    np.savez("squares.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels,
             class_names=np.array(["a", "b", "c"]))
    line = ["audit", "small_net:net", "--data", "npz:squares.npz", "--protocol", "afc-worst-case", "--quiet", "--json"]
    assert main(line) == 0
    whole = json.loads(capsys.readouterr().out)
    assert main([*line, "--only", "worst-case"]) == 0
    alone = json.loads(capsys.readouterr().out)
    for name in ("worst_case_accuracy", "middle_accuracy", "placements", "placement"):
        assert alone[name] == whole[name], name
    assert 0.5 <= alone["worst_case_accuracy"] < alone["middle_accuracy"] == 1 and alone["placements"] == 962
    assert main([*line[:4], "--protocol", "cifar-c-consistency", "--only", "worst-case"]) == 2
    said = capsys.readouterr().err
    assert "--only worst-case does not compute consistency, a metric of the protocol cifar-c-consistency" in said
