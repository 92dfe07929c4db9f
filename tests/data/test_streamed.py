import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import IterableDataset, get_worker_info

import shiftscope
from shiftscope.data import dataset_info, from_iterable, load_dataset
from shiftscope.data.base import TensorImages
from shiftscope.data.packing import from_dataset, pack
from shiftscope.data.streamed import StreamedImages
from shiftscope.errors import DataError, Interrupted, UsageError
from shiftscope.training.stopping import StopFlag

PLACE = shiftscope.Placement(image=(4, 6), canvas=(9, 8))


class Numbers(IterableDataset):
    """Image k has gray level k and label k % 3; workers divide the images; `spoil` replaces single samples."""

    classes = ("a", "b", "c")

    def __init__(self, count: int, spoil: dict | None = None):
        self.count, self.spoil, self.epochs = count, spoil or {}, []

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for k in range(first, self.count, step):
            if k in self.spoil and isinstance(self.spoil[k], Exception):
                raise self.spoil[k]
            yield self.spoil.get(k, (torch.full((1, 4, 6), k, dtype=torch.uint8), k % 3))


def few(count: int = 12) -> TensorImages:
    return TensorImages(torch.stack([image for image, _ in Numbers(count)]), torch.arange(count) % 3)


def levels(stream: StreamedImages, epoch: int = 0, seed: int = 0) -> list[int]:
    chunks = list(stream.epoch(epoch, seed))
    numbers = torch.cat([images[:, 0, 0, 0] for images, _ in chunks])
    assert torch.cat([labels for _, labels in chunks]).equal(numbers.long() % 3)
    return numbers.tolist()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.Dropout(0.2), nn.Linear(8, 3))


def test_images_come_in_order_and_are_counted_by_default():
    stream = from_iterable(Numbers(100), few()).train
    assert (len(stream), stream.shape, levels(stream)) == (100, (1, 4, 6), list(range(100)))
    stated = from_iterable(Numbers(100), few(), images=70).train
    assert levels(stated) == list(range(70)) and levels(stated.limit(40)) == list(range(40))


def test_set_epoch_of_the_source_is_called():
    source = Numbers(40)
    stream = from_iterable(source, few(), images=40).train
    source.epochs.clear()
    levels(stream, epoch=3)
    assert source.epochs == [3]


def test_worker_processes_share_the_images_and_keep_the_random_state():
    stream = from_iterable(Numbers(100), few(), workers=2).train
    before = torch.get_rng_state(), random.getstate()
    found = levels(stream)
    assert len(stream) == 100 and sorted(found) == list(range(100)) and found == levels(stream) != sorted(found)
    assert torch.get_rng_state().equal(before[0]) and random.getstate() == before[1]


def test_the_shuffle_buffer_depends_on_epoch_and_seed_and_is_reproducible():
    stream = from_iterable(Numbers(200), few(), shuffle=50).train
    first = levels(stream)
    assert sorted(first) == list(range(200)) and first == levels(stream)
    assert len({tuple(order) for order in (first, levels(stream, epoch=1), levels(stream, seed=1))}) == 3
    assert all(place >= number - 50 for place, number in enumerate(first))  # no image comes before it was in the buffer
    assert first[:100] != sorted(first[:100]) and max(first[:100]) < 150
    assert sorted(levels(from_iterable(Numbers(20), few(), shuffle=50).train)) == list(range(20))


def test_training_on_a_stream_equals_training_on_the_same_images_in_that_order(tmp_path, monkeypatch):
    """From memory, in the order of the stream: the same placements, steps and bits."""
    settings = shiftscope.TrainSettings(epochs=2, batch_size=25, validation=5, seed=4)
    streamed = from_iterable(Numbers(110), few(), validation=few(7))
    model, twin = net(), net()
    result = shiftscope.train(model, streamed, placement=PLACE, settings=settings)
    assert (result.train_images, result.validation_images) == (110, 5)
    monkeypatch.setattr("shiftscope.hashing.permutation", lambda start, length, device="cpu": torch.arange(length))
    held = shiftscope.Dataset(name="stream", class_names=("a", "b", "c"), train=few(110), test=few(), source="-",
                              license="-")
    other = shiftscope.train(twin, held, placement=PLACE, settings=shiftscope.TrainSettings(
        epochs=2, batch_size=25, validation=0, seed=4))
    assert [epoch["train_loss"] for epoch in result.history] == [epoch["train_loss"] for epoch in other.history]
    assert all(value.equal(twin.state_dict()[name]) for name, value in model.state_dict().items())
    evaluation = shiftscope.evaluate(model, streamed, placement=PLACE)
    assert evaluation.images == 12 and shiftscope.audit(model, streamed, placement=PLACE).images == 12


class StopAfter(StopFlag):
    """Requests a stop after a number of steps."""

    def __init__(self, steps: int):
        super().__init__()
        self.steps = steps

    def __bool__(self) -> bool:
        self.steps -= 1
        if self.steps == 0:
            self.ask()
        return super().__bool__()


def test_a_stopped_training_resumes_at_the_same_image(tmp_path):
    settings = shiftscope.TrainSettings(epochs=2, batch_size=16)
    data = from_iterable(Numbers(100), few(), shuffle=30)
    straight, broken = net(), net()
    shiftscope.train(straight, data, placement=PLACE, settings=settings)
    with pytest.raises(Interrupted, match=r"stopped in epoch 2 of \d, after step 3 of 7"):
        shiftscope.train(broken, data, placement=PLACE, settings=settings, folder=tmp_path, stop=StopAfter(10))
    broken = net()
    shiftscope.train(broken, data, placement=PLACE, settings=settings, folder=tmp_path, resume=True)
    assert all(value.equal(broken.state_dict()[name]) for name, value in straight.state_dict().items())


def test_uses_that_need_an_index_are_refused_with_a_remedy():
    data = from_iterable(Numbers(30), few(), name="shards")
    sentence = (r"the training images of shards are a stream and have no index: evaluation, audit and visualization "
                r"need map-style data, so use the test set, or pack the stream with `shiftscope data pack`")
    with pytest.raises(UsageError, match=sentence):
        shiftscope.evaluate(net(), data, placement=PLACE, split="train")
    with pytest.raises(UsageError, match=sentence):
        _ = data.train.labels
    with pytest.raises(UsageError, match="test of shards is a Numbers without len.. and indexing, expected map-style"):
        from_iterable(Numbers(30), Numbers(5), name="shards")


def test_a_stream_can_be_packed_and_limited(tmp_path):
    data = from_iterable(Numbers(90), few(), name="shards", license="CC0")
    found = load_dataset(f"packed:{pack(from_dataset(data), tmp_path / 'shards.pack').path}")
    assert found.train.gather(torch.arange(90))[:, 0, 0, 0].tolist() == list(range(90))
    assert (len(found.test), found.name, found.license) == (12, "shards", "CC0")
    assert found.train.labels.equal(torch.arange(90) % 3)
    assert dataset_info(data)["images_per_class"] == {"test": {"a": 4, "b": 4, "c": 4}}
    some = load_dataset(data, limit=5)
    assert (len(some.train), len(some.test), len(data.limit(None).train)) == (5, 5, 90)


class PilImages:
    """A map-style dataset of PIL images."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return Image.new("L", (6, 4), index), index % 3


def test_test_images_from_a_torch_dataset_and_training_images_from_any_iterable():
    source = [(np_image, 0) for np_image in (Image.new("L", (6, 4)), torch.ones(4, 6), torch.zeros(1, 4, 6))]
    data = from_iterable(source, PilImages(), ["a", "b", "c"])
    assert [len(data.train), len(data.test), data.test.labels.tolist()] == [3, 4, [0, 1, 2, 0]]
    assert torch.cat([images for images, _ in data.train.epoch(0)])[:, 0, 0, 0].tolist() == [0, 255, 0]


NAN = torch.full((1, 4, 6), float("nan"))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("sample", "problem"), [
    ((NAN, 0), r"pixels of image 40 of the stream.* are NaN or infinite, expected uint8, or floats from 0"),
    ((torch.zeros(1, 4, 5), 0), r"has shape \(1, 4, 5\), image 0 has \(1, 4, 6\), expected one shape: add a Resize"),
    ((torch.zeros(3, 4, 6), 0), r"has shape \(3, 4, 6\), image 0 has \(1, 4, 6\)"),
    ((torch.zeros(1, 4, 6, dtype=torch.int64), 0), r"is not uint8 or floats from 0 to 1, and the range of a stream is"),
    ((np.full((4, 6), 200.0), 0), r"image 40 .* is not uint8 or floats from 0 to 1, and the range of a stream is unk"),
    (("text", 0), r"image 40 .* is a str, expected a PIL image, a torch tensor or a NumPy array"),
    ((torch.zeros(1, 4, 6), 1.5), r"the label of image 40 .* is the float 1.5, expected an integer class number"),
    ((torch.zeros(1, 4, 6), "cat"), r"the label of image 40 .* is the name 'cat', expected a class number in a stream"),
    ((torch.zeros(1, 4, 6), 3), r"label 3 of image 40 .*out of range: there are 3 class names, so labels go from 0"),
    (torch.zeros(1, 4, 6), r"image 40 .* is a Tensor, expected a pair \(image, label\)"),
    (OSError("shard 7 is gone"), r"the stream.* raised OSError near image 39: shard 7 is gone"),
])
def test_samples_that_are_refused(sample, problem, workers):
    stream = from_iterable(Numbers(64, {40: sample}), few(), images=64, workers=workers, name="the stream").train
    with pytest.raises(DataError, match=problem) as raised:
        list(stream.epoch(0))
    assert "Traceback" not in str(raised.value)  # which DataLoader adds to errors of its processes


def test_streams_that_are_refused():
    with pytest.raises(DataError, match="stream is empty, expected at least one image"):
        from_iterable(Numbers(0), few())
    with pytest.raises(UsageError, match="stream is a generator, which ends after one pass, expected a torch Iterable"):
        from_iterable((sample for sample in Numbers(9)), few(), ["a", "b", "c"])
    with pytest.raises(UsageError, match="class_names of stream are missing"):
        from_iterable([(torch.zeros(1, 4, 6), 0)], few())
    with pytest.raises(DataError, match=r"differ in shape: \(1, 4, 6\) and \(1, 2, 2\)"):
        from_iterable(Numbers(5), TensorImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1])))
    for option in ("workers", "shuffle", "images"):
        with pytest.raises(UsageError, match=f"{option} must be an integer of at least"):
            from_iterable(Numbers(5), few(), **{option: -1})
    short = from_iterable(Numbers(20), few(), images=50).train
    with pytest.raises(DataError, match=r"stream ended after 20 images, expected 50 per epoch: pass images=20"):
        list(short.epoch(0))


def test_fewer_images_than_a_batch():
    result = shiftscope.train(net(), from_iterable(Numbers(3), few()), placement=PLACE,
                              settings=shiftscope.TrainSettings(epochs=1, batch_size=125))
    assert (result.train_images, result.validation_images) == (3, 0)
