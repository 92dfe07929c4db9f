"""Published evaluations against short scripts that use nothing of Shiftscope, exactly, in float64."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shiftscope
from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.preparation import Preparation
from shiftscope.protocols import PROTOCOLS, protocol_named
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.protocol_table import protocol_tables

COUNT = 12


@pytest.fixture(scope="module")
def net():
    """A small padded and strided net with balanced classes, whose predictions depend on position."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, padding=1),
                            nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 4)).double().eval()
    with torch.no_grad():
        net[-1].bias -= net(smooth_images().double() / 255).mean(0)
    return net


@pytest.fixture(scope="module")
def images(net):
    """Images, and labels of which three are not the prediction."""
    pixels = smooth_images()
    labels = predict(net, pixels)
    labels[:3] = (labels[:3] + 1) % 4
    return pixels, labels


def smooth_images():
    """Random images (12, 3, 32, 32), uint8; the last four are of one color, which no circular shift changes."""
    coarse = torch.rand(COUNT, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    coarse[-4:] = coarse[-4:, :, :1, :1]
    return (255 * F.interpolate(coarse, size=32, mode="bilinear")).to(torch.uint8)


def dataset(images):
    pixels, labels = (part.numpy() for part in images)
    return shiftscope.from_arrays(pixels.transpose(0, 2, 3, 1), labels, pixels.transpose(0, 2, 3, 1), labels,
                                  class_names=list("abcd"), name="squares")


def predict(net, pixels):
    with torch.no_grad():
        return net(pixels.double() / 255).argmax(1)


def equal_pairs(labels):
    """Fraction of equal pairs of rows of labels (P, N), averaged over images."""
    return np.mean([(one == other).double().mean().item() for one, other in itertools.product(labels, repeat=2)])


def script(name, net, pixels, labels):
    """(accuracy, other metric) as the publication computes them, over all shifts."""
    correct = predict(net, pixels) == labels
    if name == "cifar-s-consistency":
        padded = F.pad(pixels, (3, 3, 3, 3))
        shifted = [padded[:, :, 3 + y:35 + y, 3 + x:35 + x] for y in range(-3, 3) for x in range(-3, 3)]
    elif name == "cifar-c-consistency":
        shifted = [torch.roll(pixels, (y, x), (2, 3)) for y in range(32) for x in range(32)]
    else:
        robust = correct.clone()
        for y, x in itertools.product(range(1, 32), range(1, 32)):
            robust &= predict(net, torch.roll(pixels, (y, x), (2, 3))) == labels
        return correct.double().mean().item(), robust.double().mean().item()
    return correct.double().mean().item(), equal_pairs([predict(net, one) for one in shifted])


@pytest.mark.parametrize("engine", ["auto", "brute"])
@pytest.mark.parametrize("name", ["cifar-s-consistency", "cifar-c-consistency", "afc-worst-case"])
def test_a_protocol_measures_what_a_short_script_does(net, images, name, engine):
    found, protocol = shiftscope.audit(net, dataset(images), protocol=name, engine=engine), protocol_named(name)
    expected = script(name, net, *images)
    assert [getattr(found, field) for field in protocol.metrics.values()] == pytest.approx(expected, abs=1e-12)
    assert found.protocol == name and 0 < expected[1] < 1 and 0 < expected[0] < 1
    assert found.placements == {"cifar-s-consistency": 36, "cifar-c-consistency": 1024, "afc-worst-case": 962}[name]
    assert found.geometry.middle == (0, 0) and not found.sampled


def test_the_crop_at_the_opposite_offset_is_the_shifted_image(images):
    place = Placement.of(protocol_named("cifar-s-consistency").geometry((32, 32)), 3)
    padded, pixels = F.pad(images[0][:1], (3, 3, 3, 3)), images[0][:1]
    crops = {(-y, -x): padded[:, :, 3 + y:35 + y, 3 + x:35 + x] for y in range(-3, 3) for x in range(-3, 3)}
    for offset in place.offsets():
        assert place.place(pixels, offset[None]).equal(crops.pop(tuple(offset.tolist())))
    assert not crops


def test_the_placements_of_imagenet_consistency():
    geometry = protocol_named("imagenet-consistency").geometry((256, 256))
    assert geometry.offsets.tolist() == [[y, x] for y in range(32) for x in range(32)]
    assert geometry.middle == (16, 16) and geometry.canvas == (224, 224) and geometry.mode == "crop"


def test_published_figures_are_those_of_the_sources():
    rows = {row.model: row.percent for row in protocol_named("imagenet-consistency").published}
    assert rows == {"ResNet18": (69.74, 85.11), "ResNet18, antialiased": (71.67, 88.36), "ResNet50": (76.16, 89.20),
                    "ResNet50, antialiased": (77.41, 91.32), "VGG16": (71.59, 88.52),
                    "VGG16, antialiased": (72.96, 90.91), "MobileNetV2": (71.88, 86.50),
                    "MobileNetV2, antialiased": (72.72, 87.73)}
    for protocol in PROTOCOLS.values():
        assert all(len(row.percent) == len(protocol.metrics) for row in protocol.published)
        assert (protocol.definition.endswith(".") and protocol.source[-4:].isdigit()) or "S-Cons" in protocol.source


def test_the_table_shows_measured_and_published_rows(net, images):
    audits = [shiftscope.audit(net, dataset(images), protocol="cifar-s-consistency", name="mine"),
              shiftscope.audit(net, dataset(images), name="other", placement=Placement(image=(32, 32), canvas=(32, 32),
                                                                               mode="fill", max_shift=1))]
    table, = protocol_tables(audits)
    row, = table.rows
    assert (row.model, row.origin) == ("mine", "measured") and table.columns[2:] == ("Accuracy", "Consistency")
    assert row.cells[0].startswith(f"{100 * audits[0].middle_accuracy:.2f} % (")
    assert row.cells[1].startswith(f"{100 * audits[0].consistency:.2f} % (")


def test_a_sample_is_an_estimate(net, images):
    found = shiftscope.audit(net, dataset(images), protocol="cifar-c-consistency", sample=50)
    assert found.sampled and protocol_tables([found])[0].rows[0].origin == "estimated"


def test_unlabeled_images_have_consistency_but_no_accuracy(net, images):
    found = shiftscope.audit(net, images[0].numpy().transpose(0, 2, 3, 1), protocol="cifar-s-consistency")
    assert found.consistency == pytest.approx(script("cifar-s-consistency", net, *images)[1])
    assert protocol_tables([found])[0].rows[0].cells[0] == "–"


@pytest.mark.parametrize(("name", "size", "message"), [
    ("cifar-s-consistency", (28, 28), "needs images of 32 x 32 pixels (height x width), and these have 28 x 28"),
    ("cifar-c-consistency", (32, 33), "needs images of 32 x 32 pixels (height x width), and these have 32 x 33"),
    ("imagenet-consistency", (224, 224), "needs images of 256 x 256 pixels"),
    ("afc-worst-case", (31, 64), "needs images of at least 32 x 32 pixels (height x width), and these have 31 x 64")])
def test_images_of_another_size_are_refused(net, name, size, message):
    with pytest.raises(UsageError) as error:
        shiftscope.audit(net, np.zeros((2, *size, 3), np.uint8), protocol=name)
    assert message in str(error.value) and len(str(error.value)) < 400


def test_images_prepared_in_another_way_are_refused():
    protocol = protocol_named("imagenet-consistency")
    assert protocol.geometry((256, 256), protocol.preparation).count == 1024
    with pytest.raises(UsageError, match="needs image files with a shorter side of 256 pixels .bilinear., center crop"):
        protocol.geometry((256, 256), Preparation(resize="stretch"))
    with pytest.raises(UsageError, match="needs image files that have the size already"):
        protocol_named("cifar-s-consistency").geometry((32, 32), Preparation())


def test_unknown_names_and_another_placement_are_refused(net, images):
    with pytest.raises(UsageError, match="unknown protocol 'cifar-consistency'.*cifar-[cs]-consistency"):
        shiftscope.audit(net, dataset(images), protocol="cifar-consistency")
    with pytest.raises(UsageError, match="placement contradicts the protocol cifar-s-consistency"):
        shiftscope.audit(net, dataset(images), protocol="cifar-s-consistency",
                         placement=Placement(image=(32, 32), canvas=(32, 32), mode="fill"))


def test_the_explorer_says_that_some_cells_are_no_placements(net, images):
    found = shiftscope.audit(net, dataset(images), protocol="afc-worst-case")
    notes = explorer_payload([found])["groups"][0]["notes"]
    assert "The placements are a list of offsets: crossed-out cells are not among them." in notes
