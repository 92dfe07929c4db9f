"""`from_images`: arrays, iterables and .npz files without a training set, and what is refused."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.data import from_images, load_dataset
from shiftscope.data import images as module
from shiftscope.errors import DataError

PIXELS = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


def pixels_of(data):
    return data.test.gather(torch.arange(len(data.test))).numpy()


@pytest.mark.parametrize("images", [
    PIXELS, torch.from_numpy(PIXELS), list(PIXELS), iter(PIXELS), (Image.fromarray(image) for image in PIXELS),
    PIXELS.astype(np.float32) / 255], ids=["array", "tensor", "list", "iterator", "generator of PIL images", "floats"])
def test_images_without_labels_from_any_source(images):
    data = from_images(images)
    assert np.array_equal(pixels_of(data)[:, 0], PIXELS)
    assert not data.labeled and data.classes == 0 and len(data.train) == 0


def test_labels_from_pairs_arrays_and_map_style_datasets():
    class MapStyle:
        classes = ("cat", "dog")

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return PIXELS[index], index % 2

    for data in (from_images(MapStyle()), from_images(PIXELS, [0, 1, 0], ["cat", "dog"]),
                 from_images(((image, name) for image, name in zip(PIXELS, ("cat", "dog", "cat"), strict=True)))):
        assert data.labeled and data.class_names == ("cat", "dog") and data.test.labels.tolist() == [0, 1, 0]
        assert np.array_equal(pixels_of(data)[:, 0], PIXELS)


def test_npz_files_with_images_only(tmp_path):
    np.savez(tmp_path / "a.npz", images=PIXELS)
    np.savez(tmp_path / "b.npz", images=PIXELS, labels=[1, 0, 1], class_names=["cat", "dog"])
    assert not load_dataset(f"npz:{tmp_path}/a.npz").labeled
    data = load_dataset(f"npz:{tmp_path}/b.npz")
    assert data.class_names == ("cat", "dog") and data.test.labels.tolist() == [1, 0, 1]


def broken():
    yield PIXELS[0]
    raise ValueError("disk error")


class Loader:
    batch_size, dataset = 8, []


@pytest.mark.parametrize(("images", "problem"), [
    (iter(()), "holds no images, expected at least one"),
    ([], "holds no images, expected at least one"),
    (np.zeros((0, 4, 5), np.uint8), "hold no images"),
    (np.zeros((4, 5), np.uint8), "has shape"),
    (np.zeros((2, 4, 5, 7), np.uint8), "has shape"),
    (np.full((2, 4, 5), np.nan), "NaN"),
    (np.zeros((2, 4, 5), complex), "complex"),
    (iter([PIXELS[0], PIXELS[1][:2]]), "is 2 x 5 pixels, image 0 of images is 4 x 5"),
    (iter([PIXELS[0], "a.png"]), "item 1 of images is a str"),
    (iter([(PIXELS[0], 1), PIXELS[1]]), r"yields 1 pairs \(image, label\) and 1 images without a label"),
    (iter([(PIXELS[0], 0.5)]), "is the float 0.5"),
    (iter([{"image": PIXELS[0], "my_label": 0}]), r"keys image, my_label, and it is un.*\n    data = shiftscope.data"
     r".from_images\(images, image='image', label='my_label'\)"),
    (broken(), "raised ValueError near image 1: disk error"),
    (Loader(), "a loader of batches, expected single images: pass loader.dataset"),
    ("folder", "got the str 'folder': read files with load_dataset"),
    (7, "must be an array, a list or another iterable of images, got int"),
])
def test_what_is_refused(images, problem):
    with pytest.raises(DataError, match=problem) as raised:
        from_images(images)
    assert len(str(raised.value).split("\n")[0]) < 400


def test_an_endless_iterable_ends_at_the_limit_of_memory(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="the first 51 images of images take 0.0 GB, at most .*islice"):
        from_images(itertools.repeat(PIXELS[0]))


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, -1], [0.0, 1.0, 0.5]])
def test_labels_that_do_not_fit(labels):
    with pytest.raises(DataError):
        from_images(PIXELS, labels)
