"""Photographs: resized to a shorter side and center cropped, against Pillow and NumPy; decoded in parallel; named."""

import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shiftscope.data import folder, load_dataset, read_folder
from shiftscope.data.base import TensorImages, image_names
from shiftscope.data.packed import HostImages
from shiftscope.data.resizing import Target
from shiftscope.data.spooled import SpooledImages
from shiftscope.errors import DataError, OutputError, UsageError
from shiftscope.files import reason
from shiftscope.preparation import Preparation

RANDOM = np.random.default_rng(3)
ORIENTATIONS = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
                5: lambda a: a.swapaxes(0, 1), 6: lambda a: a.swapaxes(0, 1)[:, ::-1],
                7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: a.swapaxes(0, 1)[::-1]}
"""EXIF orientation -> the upright image, by NumPy alone."""


def photo(height: int, width: int) -> Image.Image:
    """A smooth color image with some noise."""
    coarse = Image.fromarray(RANDOM.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray(np.clip(np.asarray(coarse) + RANDOM.integers(-9, 9, (height, width, 3)), 0, 255)
                           .astype(np.uint8))


def torchvision_pixels(image: Image.Image, side: int, crop: int, method: str) -> np.ndarray:
    """Resize(side) and CenterCrop(crop) as torchvision defines them for PIL images, (crop, crop, 3)."""
    width, height = image.size
    if width <= height:
        new_width, new_height = side, int(side * height / width)
    else:
        new_width, new_height = int(side * width / height), side
    resized = np.asarray(image.resize((new_width, new_height), getattr(Image.Resampling, method)))
    top, left = round((new_height - crop) / 2.0), round((new_width - crop) / 2.0)
    return resized[top:top + crop, left:left + crop]


@given(st.tuples(st.integers(20, 90), st.integers(20, 90)), st.integers(8, 24), st.integers(0, 9),
       st.sampled_from(["BILINEAR", "BICUBIC", "LANCZOS", "NEAREST", "BOX"]))
def test_the_middle_window_is_the_usual_center_crop(size, crop, more, method):
    how = Preparation(resize="shorter", shorter_side=crop + more, crop=(crop, crop), interpolation=method.lower())
    target = Target.sized(how, how.image_size((crop, crop), "crop"))
    image = photo(*size)
    fitted = target.fit(image)
    assert fitted.shape == (3, *target.size) and fitted.flags.c_contiguous and fitted.dtype == np.uint8
    top, left = ((length - crop) // 2 for length in target.size)  # of the middle placement
    expected = torchvision_pixels(image, crop + more, crop, method)
    np.testing.assert_array_equal(fitted[:, top:top + crop, left:left + crop], expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(target.fit(np.asarray(image).transpose(2, 0, 1)), fitted)
    gray = np.asarray(image.convert("L"))[None]
    assert target.fit(gray).shape == (1, *target.size)


def test_without_antialias_pixels_are_interpolated_between_neighbors_only():
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    image[0, :, ::2] = 255  # stripes: smoothing gives gray
    target = Target(size=(2, 2), resize="shorter", shorter_side=2, antialias=False, interpolation="nearest")
    assert target.fit(image).shape == (1, 2, 2)
    ramp = (np.arange(64, dtype=np.uint8) ** 2 % 251).reshape(1, 8, 8)
    sharp = Target(size=(3, 3), resize="stretch", antialias=False).fit(ramp)[0].astype(int)
    centers = (np.arange(3) + 0.5) * 8 / 3 - 0.5
    low, part = np.floor(centers).astype(int), centers % 1
    rows = ramp[0, low] * (1 - part)[:, None] + ramp[0, low + 1] * part[:, None]
    expected = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    assert np.abs(sharp - expected).max() <= 0.5 + 1e-4
    assert (Target(size=(3, 3), resize="stretch").fit(ramp)[0] != sharp).any()
    assert "no antialias" in Target(size=(3, 3), antialias=False).describe()


@pytest.mark.parametrize(("values", "message"), [
    ({"shorter_side": 20, "crop": (24, 20)}, "shorter_side must be at least the longer side of the crop, 24 x 20"),
    ({"interpolation": "cubic"}, "interpolation must be one of nearest, box, bilinear, hamming, bicubic, lanczos, got"),
    ({"interpolation": "lanczos", "antialias": False}, "must be nearest, bilinear or bicubic without antialias, got"),
    ({"shorter_side": 0}, "shorter_side must be two integers of at least 1"),
    ({"resize": "pad", "shorter_side": 20}, "resize must be shorter with shorter_side, got 'pad'"),
    ({"crop": (0, 3)}, "crop must be two integers of at least 1")])
def test_invalid_preparations(values, message):
    with pytest.raises(UsageError, match=message):
        Preparation(**{"resize": "shorter"} | values)


def test_sizes_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="at least the longer side of image_size, 30 x 20 .*, got 24: choose a larger"):
        Target(size=(30, 20), resize="shorter", shorter_side=24)
    with pytest.raises(UsageError, match="at least the longer side of the canvas, 224 x 224 .*, got 200: choose a"):
        Preparation(resize="shorter", shorter_side=200).image_size((224, 224), "crop")


def test_the_default_is_the_usual_preparation_at_any_canvas_size():
    how = Preparation(resize="shorter").on_canvas((224, 224), "crop")
    assert how.shorter_side == 256 and how.image_size((224, 224), "crop") == (256, 256)
    source = Preparation.of_source(resize=236, crop=(224, 224), interpolation="bicubic")
    assert source.on_canvas((224, 224), "crop") == source and source.on_canvas((448, 448), "crop").shorter_side == 472
    assert Preparation.of_source(resize=(224, 224), crop=(224, 224)).resize == "stretch"
    assert Preparation.of_source(resize=None, crop=None) is None
    assert Preparation.from_dict(source.to_dict()) == source
    assert Preparation.of(source, resize="pad") == Preparation(resize="pad", interpolation="bicubic")
    given = Preparation.of(source, shorter_side=300)  # not scaled with the canvas
    assert given.interpolation == "bicubic" and given.on_canvas((112, 112), "crop").shorter_side == 300


def fill(path: Path, sizes, orientation: int = 1, suffix: str = ".jpg") -> None:
    for index, size in enumerate(sizes):
        file = path / ("cat" if index % 2 else "dog") / f"{index:03d}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo(*size).save(file, exif=exif, quality=90)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_orientation_is_applied_before_resizing(tmp_path, orientation, suffix):
    fill(tmp_path, [(40, 70), (60, 50), (33, 47), (80, 41)], orientation, suffix)
    data = read_folder(tmp_path, image_size=(24, 24), resize="shorter", shorter_side=30)
    for images in (data.train, data.test):
        for index, name in enumerate(image_names(images)):
            with Image.open(tmp_path / name) as stored:
                upright = Image.fromarray(ORIENTATIONS[orientation](np.asarray(stored)))
                assert upright.size == ImageOps.exif_transpose(stored).size
            expected = torchvision_pixels(upright, 30, 24, "BILINEAR").transpose(2, 0, 1)
            np.testing.assert_array_equal(images.gather(torch.tensor([index]))[0].numpy(), expected)


def test_names_follow_the_images_through_shuffling_subsets_and_devices(tmp_path):
    fill(tmp_path, [(20 + k, 30) for k in range(24)])
    data = read_folder(tmp_path, image_size=(16, 16), resize="shorter")
    train, held_out = data.split(4)
    names = [*image_names(train), *image_names(held_out), *image_names(data.test)]
    assert sorted(names) == sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jpg"))
    for images in (train, held_out, data.limit(5).train, data.test.to("cpu")):
        assert [data.class_names[label] for label in images.labels] == [name.split("/")[0] for name in
                                                                        image_names(images)]
        for index, name in enumerate(image_names(images)):
            with Image.open(tmp_path / name) as stored:
                expected = torchvision_pixels(stored, 16, 16, "BILINEAR")
            np.testing.assert_array_equal(images.gather(torch.tensor([index]))[0].numpy().transpose(1, 2, 0), expected)
    assert image_names(load_dataset("garments:20,10").test) is None
    assert image_names(HostImages(data.test, torch.device("cpu"))) == image_names(data.test)
    with pytest.raises(DataError, match="names must be 2 strings, one per image, got 1"):
        TensorImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), ["a"])


@pytest.mark.parametrize("gray", [False, True])
def test_threads_and_temporary_files_do_not_change_an_image(tmp_path, monkeypatch, gray):
    fill(tmp_path, [(40 + k, 64) for k in range(30)])
    if gray:  # no pixel has a color, but the mode is RGB
        for path in tmp_path.rglob("*.jpg"):
            Image.open(path).convert("L").convert("RGB").save(path)
    plain = read_folder(tmp_path, image_size=(20, 28), resize="shorter")
    assert isinstance(plain.test, TensorImages) and plain.shape == (1 if gray else 3, 20, 28)
    used = set()
    read = folder.read_pixels
    monkeypatch.setattr(folder, "read_pixels", lambda *a, **k: used.add(threading.get_ident()) or read(*a, **k))
    monkeypatch.setattr(folder, "MAX_BYTES", 100)
    monkeypatch.setattr(folder, "_THREADED_PIXELS", 1)
    monkeypatch.setattr(folder, "cores", lambda: 4)
    before = list(warnings.filters)
    stored = read_folder(tmp_path, image_size=(20, 28), resize="shorter")
    assert len(used) > 1 and threading.get_ident() not in used and warnings.filters == before
    assert isinstance(stored.train, SpooledImages) and stored.checksums == plain.checksums
    for ours, theirs in ((stored.train, plain.train), (stored.test, plain.test)):
        order = torch.randperm(len(ours), generator=torch.Generator().manual_seed(0))
        assert torch.equal(ours.gather(order), theirs.gather(order)) and torch.equal(ours.labels, theirs.labels)
        assert ours.names == theirs.names and ours.shape == theirs.shape and len(ours) == len(theirs)


def test_a_damaged_file_among_many_is_named_and_stops_the_threads(tmp_path, monkeypatch):
    fill(tmp_path, [(48, 64)] * 60)
    broken = tmp_path / "cat" / "031.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    monkeypatch.setattr(folder, "_THREADED_PIXELS", 1)
    monkeypatch.setattr(folder, "cores", lambda: 3)
    threads = threading.active_count()
    with pytest.raises(DataError, match=r"cat/031.jpg is not a readable image: image file is truncated .*; replace or"):
        read_folder(tmp_path, image_size=(20, 20), resize="shorter")
    assert threading.active_count() == threads


def test_the_number_of_threads_is_limited_by_the_largest_image(monkeypatch):
    monkeypatch.setattr(folder, "cores", lambda: 64)
    assert folder.thread_count(12_000_000) == 3 and folder.thread_count(80_000_000) == 1
    assert folder.thread_count(500_000) == 64 and folder.thread_count(100) == 1


def test_very_elongated_images_are_refused_and_small_ones_are_noted(tmp_path):
    fill(tmp_path, [(48, 64)] * 6 + [(10, 17), (19, 40)])
    data = read_folder(tmp_path, shorter_side=20, resize="shorter", crop=(16, 16))
    assert data.shape == (3, 16, 16) and data.preparation == (
        "8 of 8 images resized to a shorter side of 20 pixels (bilinear), center cropped to 16 x 16 pixels "
        "(height x width)")
    assert data.notes[-1] == ("2 of 8 images are enlarged, because their shorter side is below 20 pixels: the smallest "
                              "one, dog/006.jpg, is 10 x 17")
    Image.new("L", (1, 30_000)).save(tmp_path / "cat" / "line.png")
    with pytest.raises(DataError, match=r"line.png is 30000 x 1 pixels .* and would have 300,000,000 pixels with a"
                       r" shorter side of 100, .*: crop it, remove it, or use --resize pad"):
        read_folder(tmp_path, image_size=(50, 50), resize="shorter", shorter_side=100)
    read_folder(tmp_path, image_size=(50, 50), resize="pad")


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "RGBA", "I;16"])
def test_other_modes_equal_resizing_after_conversion(tmp_path, mode):
    suffix = ".jpg" if mode in ("CMYK", "L") else ".png"
    for index in range(4):
        path = tmp_path / ("cat" if index % 2 else "dog") / f"{index}{suffix}"
        path.parent.mkdir(exist_ok=True)
        image = photo(40, 52)
        if mode == "I;16":
            deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
            deep[0, 0] = 65535
            Image.fromarray(deep).save(path)
        else:
            image.convert(mode).save(path)
    data = read_folder(tmp_path, image_size=(20, 20), resize="shorter", interpolation="bicubic")
    for index, name in enumerate(data.test.names):
        pixels = folder.read_pixels(tmp_path / name, bits=16)
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).convert("RGB")
        expected = torchvision_pixels(image, 20, 20, "BICUBIC").transpose(2, 0, 1)[:data.shape[0]]
        np.testing.assert_array_equal(data.test.gather(torch.tensor([index]))[0].numpy(), expected)


def test_a_full_disk_is_one_sentence(monkeypatch):
    images = SpooledImages((1, 2, 2))
    images._file.close()
    images._file = Path("/dev/full").open("wb")  # noqa: SIM115
    images.append(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(OutputError, match="cannot store prepared images in .*: No space left on device; free some"):
        images.finish(torch.tensor([0]), None, 1)
    with pytest.raises(OSError, match="No space"):
        images._file.close()

    def refuse(**_):
        raise OSError(13, "Permission denied")
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError, match="cannot store prepared images .*: Permission denied; set TMPDIR"):
        SpooledImages((1, 2, 2))
    assert reason(OSError(13, "Permission denied")) == "Permission denied"
