"""Every mode of PIL images, from every source, against pixels computed with NumPy alone."""

import colorsys
import io
import os
import shutil
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.data import from_arrays, from_iterable, from_torch, load_dataset, read_image_file
from shiftscope.data.image_file import MAX_PIXELS, measure
from shiftscope.data.packing import from_folder, pack
from shiftscope.errors import DataError, UsageError
from shiftscope.placement import Placement

RANDOM = np.random.default_rng(7)
H, W = 5, 7
BYTE = RANDOM.integers(0, 256, (H, W), dtype=np.uint8)
COLOR = RANDOM.integers(0, 256, (H, W, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (H, W), dtype=np.uint8)
ALPHA[0] = [0, 255, 1, 254, 0, 128, 127]
DEEP = RANDOM.integers(0, 2**16, (H, W)).astype(np.uint16)
DEEP[0, :2] = 0, 2**16 - 1
PALETTE = RANDOM.integers(0, 256, (256, 3), dtype=np.uint8)


def image(array: np.ndarray, mode: str) -> Image.Image:
    """An image of a mode from its raw bytes."""
    return Image.frombytes(mode, (array.shape[1], array.shape[0]), np.ascontiguousarray(array).tobytes())


def paletted(**info) -> Image.Image:
    made = image(BYTE, "P")
    made.putpalette(PALETTE.tobytes())
    made.info |= info
    return made


def with_info(made: Image.Image, **info) -> Image.Image:
    made.info |= info
    return made


def first(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) as (C, H, W)."""
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def on_black(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    alpha = alpha if color.ndim == 2 else alpha[..., None]
    return np.floor(color.astype(float) * alpha / 255 + 0.5).astype(np.uint8)


def scaled(values: np.ndarray, top: int) -> np.ndarray:
    return np.floor(values.astype(float) * 255 / top + 0.5).astype(np.uint8)


def hsv_to_rgb(pixels: np.ndarray) -> np.ndarray:
    return np.array([[[255 * part for part in colorsys.hsv_to_rgb(*(value / 255))] for value in row]
                     for row in pixels.astype(float)])


def cmyk_to_rgb(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.astype(float)
    return (255 - pixels[..., :3]) * (255 - pixels[..., 3:]) / 255


def ycbcr_to_rgb(pixels: np.ndarray) -> np.ndarray:
    y, cb, cr = np.moveaxis(pixels.astype(float), -1, 0)
    return np.stack([y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)],
                    -1).clip(0, 255)


def keyed(pixels: np.ndarray, key) -> np.ndarray:
    same = (pixels == np.asarray(key)).all(-1)[..., None] if pixels.ndim == 3 else pixels == key
    return np.where(same, 0, pixels)


QUAD = np.concatenate([COLOR, BYTE[..., None]], -1)
KEY = tuple(COLOR[2, 3].tolist())
PALETTE_ALPHA = RANDOM.integers(0, 256, 256, dtype=np.uint8)
FLOATS = RANDOM.random((H, W), dtype=np.float32)
MODES = [
    ("1", lambda: Image.fromarray(BYTE > 99), (BYTE > 99) * np.uint8(255), 0),
    ("L", lambda: image(BYTE, "L"), BYTE, 0),
    ("L with a transparent level", lambda: with_info(image(BYTE, "L"), transparency=int(BYTE[1, 1])),
     keyed(BYTE, BYTE[1, 1]), 0),
    ("P", paletted, PALETTE[BYTE], 0),
    ("P with alpha of entries", lambda: paletted(transparency=PALETTE_ALPHA.tobytes()),
     on_black(PALETTE[BYTE], PALETTE_ALPHA[BYTE]), 0),
    ("P with a transparent entry", lambda: paletted(transparency=int(BYTE[1, 1])),
     np.where((BYTE == BYTE[1, 1])[..., None], 0, PALETTE[BYTE]), 0),
    ("RGB", lambda: image(COLOR, "RGB"), COLOR, 0),
    ("RGB with a transparent color", lambda: with_info(image(COLOR, "RGB"), transparency=KEY), keyed(COLOR, KEY), 0),
    ("RGBA", lambda: image(np.dstack([COLOR, ALPHA]), "RGBA"), on_black(COLOR, ALPHA), 0),
    ("LA", lambda: image(np.dstack([BYTE, ALPHA]), "LA"), on_black(BYTE, ALPHA), 0),
    ("PA", lambda: _pa(), on_black(PALETTE[BYTE], ALPHA), 0),
    ("La", lambda: image(np.dstack([on_black(BYTE, ALPHA), ALPHA]), "La"), on_black(BYTE, ALPHA), 0),
    ("RGBa", lambda: image(np.dstack([on_black(COLOR, ALPHA), ALPHA]), "RGBa"), on_black(COLOR, ALPHA), 0),
    ("RGBX", lambda: image(QUAD, "RGBX"), COLOR, 0),
    ("CMYK", lambda: image(QUAD, "CMYK"), cmyk_to_rgb(QUAD), 1),
    ("YCbCr", lambda: image(COLOR, "YCbCr"), ycbcr_to_rgb(COLOR), 1.5),
    ("HSV", lambda: image(COLOR, "HSV"), hsv_to_rgb(COLOR), 3),
    ("LAB", lambda: image(np.dstack([np.array([[0, 255]], np.uint8)] + [np.zeros((1, 2), np.uint8)] * 2), "LAB"),
     np.array([[[0] * 3, [255] * 3]]), 2),
    ("I", lambda: image(DEEP.astype(np.int32), "I"), scaled(DEEP, 65535), 0),
    ("I of 12 bits", lambda: image((DEEP >> 4).astype(np.int32), "I"), scaled(DEEP >> 4, 4095), 0),
    ("I;16", lambda: image(DEEP, "I;16"), scaled(DEEP, 65535), 0),
    ("I;16L", lambda: image(DEEP, "I;16L"), scaled(DEEP, 65535), 0),
    ("I;16B", lambda: image(DEEP.astype(">u2"), "I;16B"), scaled(DEEP, 65535), 0),
    ("I;16N", lambda: image(DEEP, "I;16N"), scaled(DEEP, 65535), 0),
    ("I;16 of 12 bits", lambda: image(DEEP >> 4, "I;16"), scaled(DEEP >> 4, 4095), 0),
    ("I;16 of 10 bits", lambda: image(DEEP >> 6, "I;16"), scaled(DEEP >> 6, 1023), 0),
    ("I;16 of 8 bits", lambda: image(DEEP >> 8, "I;16"), DEEP >> 8, 0),
    ("I;16 with a transparent level", lambda: with_info(image(DEEP, "I;16"), transparency=int(DEEP[2, 2])),
     scaled(keyed(DEEP, DEEP[2, 2]), 65535), 0),
    ("F from 0 to 1", lambda: image(FLOATS, "F"), np.rint(FLOATS * 255), 0),
    ("F from 0 to 255", lambda: image(FLOATS * 255, "F"), np.rint(FLOATS * 255), 0),
]
FILES = ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")
"""Prefixes of the names of modes that PNG files support."""


def _pa() -> Image.Image:
    made = paletted().convert("PA")
    made.putalpha(Image.fromarray(ALPHA))
    return made


def blank(shape: tuple[int, ...], channels: int) -> np.ndarray:
    return np.zeros((2, *shape[:2], channels), np.uint8)


def check(pixels: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    expected = first(np.asarray(expected))
    if len(pixels) == 3 and len(expected) == 1:
        expected = expected.repeat(3, axis=0)
    assert pixels.dtype == np.uint8 and pixels.shape == expected.shape
    assert np.abs(pixels.astype(float) - expected).max() <= tolerance


@pytest.mark.parametrize(("make", "expected", "tolerance"), [row[1:] for row in MODES], ids=[row[0] for row in MODES])
def test_modes_from_torch_datasets_and_lists(make, expected, tolerance):
    pairs = [(make(), 0), (make(), 1)]
    before = [one.tobytes() for one, _ in pairs]
    for data in (from_torch(pairs, pairs), from_arrays([make()] * 2, [0, 1], [make()] * 2, [0, 1])):
        for images in (data.train, data.test):
            for pixels in images.gather(torch.arange(2)).numpy():
                check(pixels, expected, tolerance)
    assert [one.tobytes() for one, _ in pairs] == before  # the caller's images do not change


STORED = [pytest.param(*row[1:], id=row[0]) for row in MODES if row[0].split(" ")[0] in FILES]


@pytest.mark.parametrize(("make", "expected", "tolerance"), STORED)
def test_modes_from_files(tmp_path, make, expected, tolerance):
    folder = tmp_path / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(2):
            made = make()
            made.save(folder / name / f"{k}.png", **made.info)
    data = load_dataset(f"folder:{folder}")
    packed = load_dataset(f"packed:{pack(from_folder(folder, workers=0), tmp_path / 'pets.pack').path}")
    for images in (data.train, data.test, packed.train, packed.test):
        for pixels in images.gather(torch.arange(2)).numpy():
            check(pixels, expected, tolerance)
    check(read_image_file(folder / "cat" / "0.png").numpy(), expected, tolerance)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "RGB"])
def test_jpeg_files(tmp_path, mode):
    colors = {"CMYK": (10, 60, 110, 20), "YCbCr": (120, 100, 140), "L": 77, "RGB": (9, 99, 199)}
    made = Image.new(mode, (16, 16), colors[mode])
    made.save(tmp_path / "a.jpg", quality=100)
    raw = np.asarray(made)
    expected = {"CMYK": cmyk_to_rgb, "YCbCr": ycbcr_to_rgb}.get(mode, lambda pixels: pixels)(raw)
    check(read_image_file(tmp_path / "a.jpg").numpy(), expected, 3)


# ---------------------------------------------------------------------- PNG files that Pillow does not write

def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: np.ndarray | bytes, size: tuple[int, int], depth: int, color: int, before: bytes = b"",
        behind: bytes = b"") -> bytes:
    """A PNG file; `pixels`: (H, W, channels) of 16 bits, or packed rows."""
    rows = [row.astype(">u2").tobytes() for row in pixels] if isinstance(pixels, np.ndarray) else \
        [pixels[k:k + len(pixels) // size[0]] for k in range(0, len(pixels), len(pixels) // size[0])]
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, color, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + behind + chunk(b"IEND", b""))


def of_file(content: bytes):
    """The dataset of two pairs with the image of a file, opened and not decoded yet."""
    pairs = [(Image.open(io.BytesIO(content)), 0), (Image.open(io.BytesIO(content)), 1)]
    return from_torch(pairs, pairs)


@pytest.mark.parametrize(("depth", "packed", "levels"), [
    (1, bytes([0b01100000]), [0, 255, 255, 0]), (2, bytes([0b00011011]), [0, 85, 170, 255]),
    (4, bytes([0x05, 0xAF]), [0, 85, 170, 255])])
@pytest.mark.parametrize("key", [None, 0, 1])
def test_gray_of_few_bits_with_a_transparent_level(tmp_path, depth, packed, levels, key):
    before = chunk(b"tRNS", struct.pack(">H", key)) if key is not None else b""
    (tmp_path / "a.png").write_bytes(png(packed, (1, 4), depth, 0, before))
    hidden = None if key is None else key * 255 // (2**depth - 1)
    expected = [0 if level == hidden else level for level in levels]
    assert read_image_file(tmp_path / "a.png")[0, 0].tolist() == expected
    assert of_file((tmp_path / "a.png").read_bytes()).train.gather(torch.tensor([1]))[0, 0, 0].tolist() == expected


WIDE = RANDOM.integers(0, 2**16, (H, W, 4)).astype(np.uint16)


@pytest.mark.parametrize(("color", "channels"), [(2, [0, 1, 2]), (6, [0, 1, 2, 3]), (4, [0, 3])])
def test_sixteen_bit_color_keeps_the_upper_eight_bits(tmp_path, color, channels):
    pixels = WIDE[..., channels]
    (tmp_path / "a.png").write_bytes(png(pixels, (H, W), 16, color))
    upper = (pixels >> 8).astype(np.uint8)
    expected = upper if color == 2 else on_black(upper[..., :-1], upper[..., -1])
    expected = expected if expected.shape[-1] == 3 else expected.repeat(3, -1)
    check(read_image_file(tmp_path / "a.png").numpy(), expected, 0)
    check(of_file((tmp_path / "a.png").read_bytes()).train.gather(torch.tensor([0]))[0].numpy(), expected, 0)


def test_sixteen_bit_color_whose_depth_would_be_lost_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(png(WIDE[..., :3] >> 4, (H, W), 16, 2))
    with pytest.raises(DataError, match=r"a.png has 16-bit color, of which the upper 8 bits are read, but no value of"):
        read_image_file(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"image 0 of the train dataset has 16-bit color"):
        of_file((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.png").write_bytes(png(WIDE[..., :3], (H, W), 16, 2, chunk(b"tRNS", bytes(6))))
    with pytest.raises(DataError, match=r"b.png has 16 bits per channel and a transparent color, which 8 bits"):
        read_image_file(tmp_path / "b.png")


TURNS = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
         5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
         8: lambda a: np.rot90(a)}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("late", [False, True])
def test_exif_orientation(tmp_path, orientation, late):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = TURNS[orientation](COLOR)
    folder = tmp_path / "pets"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for k in range(2):
            if late:  # after the pixels, as some tools write it
                rows = png(COLOR.tobytes(), (H, W), 8, 2, behind=chunk(b"eXIf", exif.tobytes()[6:]))
                (folder / name / f"{k}.png").write_bytes(rows)
            else:
                image(COLOR, "RGB").save(folder / name / f"{k}.png", exif=exif)
    path = folder / "cat" / "0.png"
    assert measure(path).size == expected.shape[:2]
    check(read_image_file(path).numpy(), expected, 0)
    check(load_dataset(f"folder:{folder}").train.gather(torch.tensor([0]))[0].numpy(), expected, 0)
    with Image.open(path) as opened:
        data = from_torch([(opened, 0), (opened, 1)], [(opened, 0)])
    check(data.train.gather(torch.tensor([0]))[0].numpy(), expected, 0)


def test_headers_are_read_without_decoding_pixels(tmp_path, monkeypatch):
    image(COLOR, "RGB").save(tmp_path / "a.png")
    image(COLOR, "RGB").save(tmp_path / "a.jpg")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    assert measure(tmp_path / "a.png").size == measure(tmp_path / "a.jpg").size == (H, W)


# ---------------------------------------------------------------------- one scale a dataset

def test_the_depth_is_that_of_the_whole_dataset(tmp_path):
    dark, bright = DEEP >> 8, DEEP >> 4  # 8 and 12 bits: alone, the first would be read as 8-bit data
    for part, pictures in (("train", (dark, dark)), ("test", (bright, dark))):
        for name, pixels in zip(("cat", "dog"), pictures, strict=True):
            (tmp_path / "pets" / part / name).mkdir(parents=True)
            image(pixels, "I;16").save(tmp_path / "pets" / part / name / "a.png")
    note = ("the largest value of the 16-bit images is 4,095: they are read as 12-bit data, 0 to 4,095, and scaled to "
            "8 bits")
    train, test = ([(image(pixels, "I;16"), label) for label, pixels in enumerate(pictures)]
                   for pictures in ((dark, dark), (bright, dark)))
    wide = torch.from_numpy(np.stack([bright, dark]).astype(np.int32))
    arrays = from_arrays(np.stack([dark, dark]), [0, 1], wide, [0, 1])
    for data in (load_dataset(f"folder:{tmp_path}/pets"), from_torch(train, test), arrays):
        assert data.notes == (note,)
        check(data.train.gather(torch.tensor([0]))[0].numpy(), scaled(dark, 4095), 0)
        found = data.test.gather(torch.tensor([0, 1]))[data.test.labels.argsort()].numpy()
        check(found[0], scaled(bright, 4095), 0)
        check(found[1], scaled(dark, 4095), 0)


def test_twelve_bits_keep_more_than_sixteen_levels():
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    data = from_torch([(image(ramp, "I;16"), 0), (image(ramp, "I;16"), 1)], [(image(ramp, "I;16"), 1)])
    assert len(data.train.gather(torch.tensor([0])).unique()) == 256


@pytest.mark.parametrize(("make", "problem"), [
    (lambda: image(np.full((H, W), -1, np.int32), "I"), r"pixels of image 0 .* are negative \(from -1 to -1\)"),
    (lambda: image(np.full((H, W), 70000, np.int32), "I"), r"pixels of image 0 .* go up to 70000, expected integers"),
    (lambda: image(FLOATS - 0.5, "F"), r"pixels of image 0 .* are negative"),
    (lambda: image(FLOATS * 4, "F"), r"pixels of image 0 .* are floats up to .*, expected floats from 0 to 1, or from"),
    (lambda: image(FLOATS * 1000, "F"), r"pixels of image 0 .* are floats up to .*, expected floats from 0 to 1"),
    (lambda: image(FLOATS * np.float32(np.nan), "F"), r"pixels of image 0 .* are NaN or infinite"),
])
def test_unsupported_ranges_are_refused(make, problem):
    with pytest.raises(DataError, match=problem):
        from_torch([(make(), 0)], [(make(), 1)])


def test_a_black_image_fits_both_ranges_of_floats():
    images = [torch.zeros(H, W), torch.from_numpy(FLOATS) * 255, torch.from_numpy(FLOATS) / 2]
    data = from_torch(list(zip(images, (0, 1, 1), strict=True)), [(images[0], 0)])
    check(data.train.gather(torch.tensor([1]))[0].numpy(), np.rint(FLOATS * 255), 0)
    assert data.train.gather(torch.tensor([2])).max() <= 1  # scaled by the range of the others


def test_streams_refuse_images_whose_range_depends_on_the_dataset():
    class Source(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(image(DEEP, "I;16"), 0)])

    few = from_arrays(np.stack([BYTE, BYTE]), [0, 1], np.stack([BYTE]), [0]).test
    with pytest.raises(DataError, match=r"image 0 of stream is not uint8 or floats from 0 to 1, and the range of a"):
        from_iterable(Source(), few, ["a", "b"], images=1)


# ---------------------------------------------------------------------- frames, sizes, memory

def animated(kind: str) -> bytes:
    frames, stream = [image(BYTE, "L"), image(255 - BYTE, "L")], io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF"])
def test_the_first_of_several_frames_is_used_and_noted(kind):
    data = of_file(animated(kind))
    check(data.train.gather(torch.tensor([1]))[0].numpy(), BYTE, 0)
    assert data.notes == ("of images with several frames the first one is used: image 0 of the train dataset, image 1 "
                          "of the train dataset, image 0 of the test dataset and 1 more",)


def test_images_with_too_many_pixels_are_refused_by_their_headers(tmp_path):
    for name, size in (("large", (10_000, 9_000)), ("bomb", (60_000, 60_000))):
        (tmp_path / f"{name}.png").write_bytes(png(bytes(size[1]), size[::-1], 8, 0))
        for read in (measure, read_image_file):
            with pytest.raises(DataError, match=rf"{name}.png is not a readable image: it has more "
                               rf"than {MAX_PIXELS:,} pixels"):
                read(tmp_path / f"{name}.png")


@pytest.mark.parametrize("write_files", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("/dev/zero"),
                                 lambda path: path.mkdir()])
def test_special_files_are_refused_immediately(tmp_path, write_files):
    write_files(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png is not a readable image: it is .*, expected a regular file; replace"):
        read_image_file(tmp_path / "a.png")


def test_a_folder_larger_than_the_disk_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    photos(tmp_path, 4, (40, 30))
    monkeypatch.setattr("shiftscope.data.folder.MAX_BYTES", 10_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(20_000, 10_000, 10_000))  # pyright: ignore
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"the 4 images of photos take 0.0 GB as 30 x 40 pixels, 0.0 GB are free"):
        load_dataset(f"folder:{tmp_path}/photos")


def photos(root, count: int, size: tuple[int, int], *, other: tuple[int, int] | None = None) -> None:
    """JPEG photos of (width, height), one of them of another size."""
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(stream, "JPEG")
    for k in range(count):
        path = root / "photos" / ("cat" if k % 2 else "dog") / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())
    if other:
        Image.new("RGB", other).save(root / "photos" / "cat" / "other.jpg")


def test_photos_that_do_not_fit_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    photos(tmp_path, 4, (40, 30))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UsageError, match=r"the image does not fit: it is 30 x 40, the canvas 28 x 28; choose a canvas"):
        load_dataset(f"folder:{tmp_path}/photos", check_size=lambda size: Placement(image=size, canvas=(28, 28)))


PEAK = """
import sys
from shiftscope.cli import main
import shiftscope.data, torch, PIL.Image
PIL.Image.init()
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
with open("/proc/self/clear_refs", "w") as refs:
    refs.write("5")  # reset the peak, which a process inherits from its parent
before = peak()
code = {what}
print(code, (peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in kilobytes")
def test_sixty_photos_take_little_memory_before_the_error(tmp_path):
    photos(tmp_path, 60, (4000, 3000), other=(3000, 4000))
    what = 'main(["train", "two-full", "--data", "folder:photos", "--epochs", "1", "--out", "o"])'
    done = subprocess.run([sys.executable, "-c", PEAK.format(what=what)], capture_output=True, text=True, cwd=tmp_path,
                          timeout=300, check=False)
    assert "error: the image does not fit: it is 3000 x 4000, the canvas 56 x 56; choose a canvas" in done.stderr
    code, megabytes = map(int, done.stdout.split())
    assert code == 2 and megabytes < 150 and not (tmp_path / "o").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in kilobytes")
def test_a_folder_is_decoded_into_one_array(tmp_path):
    photos(tmp_path, 120, (1000, 800))
    what = 'len(shiftscope.data.load_dataset("folder:photos").train)'
    done = subprocess.run([sys.executable, "-c", PEAK.format(what=what)], capture_output=True, text=True, cwd=tmp_path,
                          timeout=300, check=True)
    _, megabytes = map(int, done.stdout.split())
    assert 100 < megabytes < 350  # the pixels are 275 MiB, some of which fit into memory freed after the imports


def test_damaged_images_raise_data_errors_and_no_warnings(tmp_path):
    exif, draw, files = Image.Exif(), np.random.default_rng(3), []
    exif[0x0112] = 6
    for mode, pixels in (("RGB", COLOR), ("L", BYTE), ("I;16", DEEP), ("RGBA", QUAD)):
        image(pixels, mode).save(tmp_path / "whole.png", exif=exif)
        files.append((tmp_path / "whole.png").read_bytes())
    image(COLOR, "RGB").save(tmp_path / "whole.jpg", exif=exif)
    files.append((tmp_path / "whole.jpg").read_bytes())
    refused = 0
    for trial in range(300):
        content = bytearray(files[trial % len(files)])
        for place in draw.integers(0, len(content), draw.integers(1, 6)):
            content[place] = draw.integers(0, 256)
        (tmp_path / "damaged.png").write_bytes(content[:draw.integers(1, len(content))] if trial % 3 == 0 else content)
        for read in (measure, read_image_file):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    read(tmp_path / "damaged.png")
                except DataError as error:
                    refused += 1
                    assert len(str(error)) < 400
    assert refused > 100
