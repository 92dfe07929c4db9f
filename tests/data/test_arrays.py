import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.data import from_arrays, from_torch, load_dataset
from shiftscope.errors import DataError

GRAY = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
COLOR = 3 * np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
LABELS = np.array([0, 1, 0, 1])


def save(path, **changes):
    arrays = {"train_images": GRAY, "train_labels": LABELS, "test_images": GRAY[:2], "test_labels": LABELS[:2],
              "class_names": np.array(["shirt", "shoe"])} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return f"npz:{path}"


def test_npz_gray_and_color_keep_their_pixels(tmp_path):
    gray = load_dataset(save(tmp_path / "gray.npz"))
    assert (gray.name, gray.shape, gray.class_names) == ("gray", (1, 2, 3), ("shirt", "shoe"))
    assert np.array_equal(gray.train.gather(torch.arange(4))[:, 0].numpy(), GRAY)
    color = load_dataset(save(tmp_path / "color.npz", train_images=COLOR, test_images=COLOR[:1],
                               test_labels=LABELS[:1]))
    assert color.shape == (3, 2, 3)
    assert color.train.gather(torch.tensor([1]))[0, :, 1, 2].tolist() == COLOR[1, 1, 2].tolist()


@pytest.mark.parametrize(("changes", "problem"), [
    ({"test_labels": None}, r"lacks test_labels: it holds train_images uint8 \(4, 2, 3\), train_labels.*numpy.savez"),
    ({"train_images": GRAY / 255 - 0.1}, r"pixels of train_images of bad are negative \(from -0.1 to .*Normalize"),
    ({"train_images": np.full((4, 2, 3), np.nan)}, r"pixels of train_images of bad are NaN or infinite, expected"),
    ({"train_images": GRAY.astype(np.int16) - 1}, r"pixels of train_images of bad are negative \(from -1 to 22\)"),
    ({"train_images": GRAY.astype(np.int64) + 70000}, r"go up to 70023, expected integers of at most 16 bits"),
    ({"train_images": GRAY.astype(complex)}, r"pixels of train_images of bad are complex128, expected uint8"),
    ({"train_images": GRAY / 5}, r"train_images of bad are floats up to 4.6, expected floats from 0 to 1, or from 0"),
    ({"train_images": GRAY[0]}, r"train_images of bad has shape \(2, 3\), expected \(N, H, W\), or \(N, H, W, C\)"),
    ({"train_images": COLOR.transpose(0, 3, 1, 2)[..., :2]},
     r"has shape \(4, 3, 2, 2\).*; move the channels last:\n.*\n.*\n.* = arrays\[key\].transpose\(0, 2, 3, 1\)"),
    ({"train_labels": LABELS[:3]}, r"labels must be 4 integers"),
    ({"train_labels": LABELS / 1}, r"train_labels of bad must be integers"),
    ({"train_labels": np.array([0, 1, 2, 0])}, r"label 2 of image 2 in the training set of bad is out of range"),
    ({"test_labels": np.array([0, -1])}, r"label -1 of image 1 in the test set of bad is out of range"),
    ({"test_images": GRAY[:2, :, :2]}, r"training and test images of bad differ in shape"),
    ({"class_names": np.array(["shirt"])}, r"bad has 1 class\(es\) \(shirt\), expected at least 2"),
    ({"class_names": np.array(["a", "a"])}, r"class_names of bad must differ"),
    ({"class_names": np.array(["a", "b"], dtype=object)},
     r"bad.npz .*its array class_names is not a plain array.*unpickled"),
])
def test_npz_files_that_are_refused(tmp_path, changes, problem):
    with pytest.raises(DataError, match=problem):
        load_dataset(save(tmp_path / "bad.npz", **changes))


def test_files_that_are_not_npz_files(tmp_path):
    path = tmp_path / "bad.npz"
    with pytest.raises(DataError, match=r"there is no file .*bad.npz"):
        load_dataset(f"npz:{path}")
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match=r"bad.npz is not a readable .npz file"):
        load_dataset(f"npz:{path}")
    save(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bad.npz is not a readable .npz file"):
        load_dataset(f"npz:{path}")
    np.save(tmp_path / "one.npy", GRAY)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")  # with its own suffix, see test_given_layouts
    with pytest.raises(DataError, match=r"one.npz .*it holds a single array, expected an .npz file"):
        load_dataset(f"npz:{tmp_path / 'one.npz'}")


def test_from_arrays_takes_tensors_with_channels_first_and_names_classes():
    images = torch.from_numpy(COLOR).permute(0, 3, 1, 2)
    data = from_arrays(images, torch.tensor([0, 1, 2, 0]), images[:1], [2])
    assert data.shape == (3, 2, 3)
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert data.train.gather(torch.tensor([2])).equal(images[2:3])


def test_from_arrays_keeps_its_own_copy():
    images = GRAY.copy()
    data = from_arrays(images, LABELS, images, LABELS)
    images[:] = 0
    assert data.train.gather(torch.tensor([3]))[0, 0, 0, 0] == GRAY[3, 0, 0]


class Pairs(torch.utils.data.Dataset):
    def __init__(self, images, labels=(0, 1)):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


UINT8 = torch.from_numpy(COLOR[:2]).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("images", [UINT8 / 255, UINT8, [Image.fromarray(array) for array in COLOR[:2]]],
                         ids=["float", "uint8", "PIL"])
def test_from_torch_gives_the_same_pixels_for_every_kind(images):
    data = from_torch(Pairs(images), Pairs(images, (1, torch.tensor(0))), ["shirt", "shoe"])
    assert data.train.gather(torch.arange(2)).equal(UINT8)
    assert data.test.labels.tolist() == [1, 0]


def test_from_torch_takes_class_names_from_the_dataset():
    pairs = Pairs(UINT8[:, 0])
    pairs.classes = ["cat", "dog"]
    assert from_torch(pairs, pairs).class_names == ("cat", "dog")


@pytest.mark.parametrize(("images", "problem"), [
    ([UINT8[0] / 255, UINT8[1] / 255 - 0.5], r"pixels of image 1 of the train dataset are negative .*Normalize"),
    ([UINT8[0] / 255, torch.full((3, 2, 3), torch.nan)], r"pixels of image 1 of the train dataset are NaN"),
    ([UINT8[0], UINT8[1, :, :1]], r"image 1 of .* is 1 x 3 pixels, image 0 of .* is 2 x 3 \(height x width\).*Resize"),
    ([UINT8[0], "text"], r"image 1 of the train dataset is a str, expected a PIL image, a torch tensor or a NumPy"),
    ([], r"the train dataset is empty"),
])
def test_from_torch_names_the_invalid_image(images, problem):
    with pytest.raises(DataError, match=problem):
        from_torch(Pairs(images), Pairs(UINT8))
