import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.data import load_dataset, read_folder, read_image_file
from shiftscope.errors import DataError, UsageError
from shiftscope.preparation import Preparation


def fill(folder, count, size=(6, 4), value=0, mode="L", suffix=".png"):
    """Write `count` images of (width, height) `size`, image k with gray level value + k."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.new(mode, size, value + k if mode == "L" else (value + k, 0, 0)).save(folder / f"{k:03}{suffix}")


def test_train_and_test_folders_are_the_splits(tmp_path):
    for part, count in (("train", 3), ("test", 2)):
        fill(tmp_path / part / "cat", count, value=10)
        fill(tmp_path / part / "dog", count, value=100)
    data = load_dataset(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test), data.shape, data.class_names) == (6, 4, (1, 4, 6), ("cat", "dog"))
    for images in (data.train, data.test):
        levels = images.gather(torch.arange(len(images)))[:, 0, 0, 0]
        assert (levels >= 100).long().equal(images.labels)
    assert sorted(data.test.gather(torch.arange(4))[:, 0, 0, 0].tolist()) == [10, 11, 100, 101]


def test_without_them_every_sixth_image_of_a_class_is_a_test_image(tmp_path):
    fill(tmp_path / "cat", 12)
    fill(tmp_path / "dog", 6, value=100)
    first, again = read_folder(tmp_path), read_folder(tmp_path)
    assert first.train.labels.bincount().tolist() == [10, 5]
    assert first.test.labels.bincount().tolist() == [2, 1]
    assert first.checksums == again.checksums
    levels = [images.gather(torch.arange(len(images)))[:, 0, 0, 0].tolist() for images in (first.train, first.test)]
    assert sorted(levels[0] + levels[1]) == [*range(12), *range(100, 106)]  # each image once


def test_one_colored_image_makes_all_colored_but_gray_rgb_files_do_not(tmp_path):
    fill(tmp_path / "cat", 2)
    Image.new("RGB", (6, 4), (7, 7, 7)).save(tmp_path / "cat" / "gray.png")
    fill(tmp_path / "dog", 2)
    assert read_folder(tmp_path).shape == (1, 4, 6)
    fill(tmp_path / "dog", 2, value=50, mode="RGB")
    assert read_folder(tmp_path).shape == (3, 4, 6)


def test_mixed_sizes_are_fitted_into_the_most_common_or_the_given_one(tmp_path):
    fill(tmp_path / "cat", 6, size=(6, 4), value=200)
    fill(tmp_path / "dog", 3, size=(10, 10), value=100)
    data = read_folder(tmp_path, background=9)
    assert data.shape == (1, 4, 6) and data.resize == "pad"
    assert data.preparation == "3 of 9 images resized to fit 4 x 6 pixels (height x width) and padded with 9"
    assert data.preparation in data.source and data.notes[0].startswith("3 of 9 images have another size and are ")
    dogs = data.train.gather(torch.arange(len(data.train)))[data.train.labels == 1]
    assert (dogs[:, :, :, [0, 5]] == 9).all() and (dogs[:, :, :, 1:5] >= 100).all()
    given = load_dataset(f"folder:{tmp_path}", image_size=(5, 7), resize="stretch")
    assert given.shape == (1, 5, 7) and given.resize == "stretch" and len(given.notes) == 1
    assert given.preparation == "9 of 9 images stretched to 5 x 7 pixels (height x width)"
    levels = given.test.gather(torch.arange(len(given.test)))
    assert (levels == levels[:, :, :1, :1]).all()  # no padding


def test_the_stretched_image_is_that_of_pillow(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    expected = np.asarray(Image.fromarray(noise).resize((8, 6), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert read_image_file(tmp_path / "a.png", (6, 8), resize="stretch").equal(torch.tensor(expected))
    assert read_image_file(tmp_path / "a.png", (6, 8))[:, 1].any()  # padded: the rows keep the ratio 9 / 13
    assert not read_image_file(tmp_path / "a.png", (9, 8))[:, [0, 7, 8]].any()


def test_images_of_one_size_are_resized_to_another_one_and_unchanged_at_their_own(tmp_path):
    fill(tmp_path / "cat", 2)
    fill(tmp_path / "dog", 2, value=100)
    same = read_folder(tmp_path, image_size=(4, 6))
    assert same.preparation == "" and same.notes == () and same.checksums == read_folder(tmp_path).checksums
    other = read_folder(tmp_path, image_size=(8, 8))
    assert other.shape == (1, 8, 8)
    assert other.preparation == "4 of 4 images resized to fit 8 x 8 pixels (height x width) and padded with 0"
    assert other.notes == ("4 of 4 images have another size and are resized to fit 8 x 8 pixels (height x width) and "
                           "padded with 0: cat/000.png is 4 x 6",)


def test_one_odd_image_does_not_set_the_size_and_a_warning_states_the_range(tmp_path):
    for k, side in enumerate((60, 64, 70, 75, 90, 100)):
        fill(tmp_path / f"train/{'cat' if k % 2 else 'dog'}/{k}", 0)
        Image.new("L", (side, side)).save(tmp_path / f"train/{'cat' if k % 2 else 'dog'}" / f"{k}.png")
    Image.new("L", (154, 77)).save(tmp_path / "train/cat/odd.png")
    for name in ("cat", "dog"):
        fill(tmp_path / "test" / name, 1, size=(64, 64))
    data = read_folder(tmp_path)
    assert data.shape == (1, 75, 75)
    assert data.notes[-1] == ("the sizes of the images differ much, from 60 x 60 to 77 x 154: check the size that was "
                              "chosen, or set one with --image-size H W (image_size=)")
    assert not any("differ much" in note for note in read_folder(tmp_path, image_size=(64, 64)).notes)


@pytest.mark.parametrize("size", [(0, 5), (-3, 5), (5,), 5, (5, 5, 5), (2.5, 5), "5x5", (True, 5), (10**6, 10**6)])
def test_impossible_sizes_raise_before_images_are_read(tmp_path, size):
    fill(tmp_path / "cat", 2)
    fill(tmp_path / "dog", 2)
    (tmp_path / "dog" / "000.png").write_bytes((tmp_path / "dog" / "000.png").read_bytes()[:60])
    with pytest.raises(UsageError, match=r"image_size must be (two integers of at least 1|at most 16,777,216 pixels)"):
        read_folder(tmp_path, image_size=size)


def test_sizes_and_resizing_are_options_of_folders_only(tmp_path):
    fill(tmp_path / "pets" / "cat", 2)
    fill(tmp_path / "pets" / "dog", 2)
    for option in ({"image_size": (8, 8)}, {"resize": "pad"}, {"shorter_side": 9}, {"interpolation": "bicubic"},
                   {"prepare": Preparation()}):
        name = next(iter(option))
        for data in ("garments:20,10", "fashion-mnist", "npz:a.npz", load_dataset("garments:20,10")):
            with pytest.raises(UsageError, match=f"{name} is an option of folder:PATH, not of .*: remove it"):
                load_dataset(data, **option)
    with pytest.raises(UsageError, match="resize must be pad, stretch or shorter, got 'crop'"):
        load_dataset(f"folder:{tmp_path / 'pets'}", resize="crop")


def test_jpeg_files_and_upper_case_suffixes_count(tmp_path):
    fill(tmp_path / "cat", 2, suffix=".JPG")
    fill(tmp_path / "dog", 2, suffix=".jpeg")
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    data = read_folder(tmp_path)
    assert len(data.train) + len(data.test) == 4


def test_the_first_images_hold_every_class(tmp_path):
    for name in "abc":
        fill(tmp_path / name, 30)
    assert set(read_folder(tmp_path).limit(20).train.labels.tolist()) == {0, 1, 2}


def _cat_only(path):
    (path / "dog" / "000.png").unlink()
    (path / "dog" / "001.png").unlink()


def _truncate(path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    Image.fromarray(noise).save(path / "cat" / "half.png")
    (path / "cat" / "half.png").write_bytes((path / "cat" / "half.png").read_bytes()[:900])


def _animate(path, name="film.png", **options):
    frames = [Image.new("L", (6, 4), level) for level in (0, 200)]
    frames[0].save(path / "cat" / name, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize(("spoil", "problem"), [
    (_cat_only, r"the class folder .*dog holds no PNG or JPEG file: add images"),
    (_truncate, r"cat/half.png is not a readable image: .*; replace or remove it"),
    (lambda path: (path / "cat" / "no.png").write_text("hello"), r"cat/no.png is not a readable image: its"),
    (lambda path: _animate(path, "film.gif.png", format="GIF"), r"film.gif.png is a GIF file, expected PNG or JPEG"),
    (lambda path: Image.new("L", (6, 4)).save(path / "cat" / "x.png", format="BMP"), r"x.png is a BMP file, expected"),
    (lambda path: Image.new("L", (6, 4)).save(path / "cat" / "x.bmp"), r"x.bmp is neither PNG nor JPEG: convert it"),
    (lambda path: (path / "dog" / "000.png").unlink(), r"the class dog in .* has 1 image, expected at least 2"),
    (lambda path: fill(path / "train" / "cat", 2), r"holds train/ but no test/, expected both train/ and test/"),
    (lambda path: [fill(path / part, 2) for part in ("train/a", "train/b", "test/a", "test/c")],
     r"must hold the same classes, got b only in train/; c only in test/"),
])
def test_folders_that_are_refused(tmp_path, spoil, problem):
    fill(tmp_path / "cat", 2)
    fill(tmp_path / "dog", 2)
    spoil(tmp_path)
    with pytest.raises(DataError, match=problem):
        read_folder(tmp_path)


def test_the_first_frame_of_an_animation_is_used_and_noted(tmp_path):
    fill(tmp_path / "cat", 1, value=7)
    fill(tmp_path / "dog", 2, value=7)
    _animate(tmp_path)
    data = read_folder(tmp_path)
    levels = [images.gather(torch.arange(len(images)))[:, 0, 0, 0].tolist() for images in (data.train, data.test)]
    assert sorted(levels[0] + levels[1]) == [0, 7, 7, 8]
    assert data.notes == ("of images with several frames the first one is used: cat/film.png",)


def test_one_class_no_class_or_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*missing"):
        read_folder(tmp_path / "missing")
    with pytest.raises(DataError, match="holds no class folders"):
        read_folder(tmp_path)
    fill(tmp_path / "cat", 2)
    with pytest.raises(DataError, match=r"has 1 class\(es\) \(cat\), expected at least 2"):
        read_folder(tmp_path)


def test_transparency_is_composed_on_black_and_sixteen_bits_are_scaled(tmp_path):
    pixels = np.array([[[200, 200, 200, 0], [200, 200, 200, 255]]], dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert read_image_file(tmp_path / "alpha.png")[0].tolist() == [[0, 200]]
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert read_image_file(tmp_path / "deep.png")[0].tolist() == [[0, 128, 255]]


def test_the_exif_orientation_of_photos_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        fill(tmp_path / name, 1)
        Image.new("L", (6, 4)).save(tmp_path / name / "turned.jpg", exif=exif)
        Image.new("L", (4, 6)).save(tmp_path / name / "upright.jpg")
    assert read_folder(tmp_path).shape == (1, 6, 4)  # twice as many as 4 x 6 after rotation
