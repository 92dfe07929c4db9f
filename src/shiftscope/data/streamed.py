"""Training images that come one after the other: from shards, an archive, a bucket, any IterableDataset."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from shiftscope import hashing
from shiftscope.data.arrays import collect_set, shared_classes
from shiftscope.data.base import Dataset, ImageSet, Subset, require_classes
from shiftscope.data.collecting import MapDataset, pair, read_image
from shiftscope.data.decoding import Scale
from shiftscope.data.labels import check_names, one_label
from shiftscope.errors import DataError, UsageError, require
from shiftscope.hashing import Stream

_CHUNK = 32  # images that a worker process hands over at once

Chunk = tuple[torch.Tensor, torch.Tensor]
"""Images uint8 (n, C, h, w) and their labels int64 (n,)."""


class StreamedImages:
    """Images of a torch IterableDataset. They have no index: training takes them as they come, nothing else can.

    Each epoch iterates over the source anew, after `source.set_epoch(epoch)` where there is such a method, and takes
    the first `count` images. What is random in training is hashed from the number of an image within its epoch.

    Args:
        source: yields (image, label); images as in `from_torch`. With several workers, the source itself must share
            its images among them (`torch.utils.data.get_worker_info`), as always with an IterableDataset.
        count: images an epoch; None: all, counted by going through the source once.
        classes: K; labels go from 0 to K-1.
        workers: processes that read the source; 0: the training's own.
        shuffle: images that are held back, of which a random one comes next; 0: the order of the source.
        name: what errors call the stream.

    Raises:
        DataError: the source is empty, or an image or a label is not what it should be.
        UsageError: the source can be gone through only once, as a generator.
    """

    def __init__(self, source: Iterable[Any], *, count: int | None, classes: int, workers: int = 0, shuffle: int = 0,
                 name: str = "the stream"):
        for what, value, least in (("images", count, 1), ("workers", workers, 0), ("shuffle", shuffle, 0)):
            require(value is None or (isinstance(value, int) and value >= least), what, value,
                    f"a whole number of at least {least}")
        if iter(source) is source:
            raise UsageError(f"{name} is a {type(source).__name__}, which ends after one pass, expected a torch "
                             "IterableDataset or another object that begins anew in each epoch")
        self.source, self.classes, self.workers, self.shuffle, self.name = source, classes, workers, shuffle, name
        self._shape = tuple(self.first(1)[0].shape[1:])
        self.count = count if count is not None else sum(len(labels) for _, labels in self._chunks(0, 0, workers))

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self._shape
        return channels, height, width

    def __len__(self) -> int:
        return self.count

    @property
    def labels(self) -> torch.Tensor:
        return self._refuse()

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self._refuse()

    def _refuse(self) -> NoReturn:
        raise UsageError(f"the training images of {self.name} are a stream and have no index: evaluation, audit and "
                         "pictures need map-style data, so ask for the test set, or put them into one file with "
                         "`shiftscope data pack`")

    def to(self, device: torch.device | str) -> "StreamedImages":
        return self

    def limit(self, count: int) -> "StreamedImages":
        """Return the stream with at most `count` images an epoch."""
        return StreamedImages(self.source, count=min(count, self.count), classes=self.classes, workers=self.workers,
                              shuffle=self.shuffle, name=self.name)

    def first(self, count: int) -> Chunk:
        """Return the first `count` images, fewer where there are not as many, read in this process."""
        found: list[Chunk] = []
        for chunk in self._chunks(0, 0, workers=0):
            found.append(chunk)
            if sum(len(labels) for _, labels in found) >= count:
                break
        if not found:
            raise DataError(f"{self.name} is empty, expected at least one image")
        images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        return images[:count], labels[:count]

    def epoch(self, number: int, seed: int = 0) -> Iterator[Chunk]:
        """Yield the images of an epoch, `count` in all, a few at a time.

        Raises:
            DataError: the source ends before, or an image or a label is not what it should be.
        """
        done, chunks = 0, self._chunks(number, seed, self.workers)
        if self.shuffle:
            chunks = self._shuffled(chunks, hashing.stream(Stream.STREAMED_SHUFFLE, seed, number))
        for images, labels in chunks:
            left = self.count - done
            yield images[:left], labels[:left]
            done += len(labels)
            if done >= self.count:
                return
        raise DataError(f"{self.name} ended after {done:,} images, {self.count:,} an epoch were promised: state "
                        f"images={done}, or leave it out to have them counted")

    def _chunks(self, number: int, seed: int, workers: int) -> Iterator[Chunk]:
        set_epoch = getattr(self.source, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(number)
        samples = _Samples(self.source, self.classes, self.name)
        generator = torch.Generator().manual_seed(hashing.stream(Stream.STREAMED_SEED, seed, number))
        loader = DataLoader(samples, batch_size=_CHUNK, collate_fn=_collate, num_workers=workers, generator=generator,
                            worker_init_fn=leave_signals)
        for chunk in loader:
            if isinstance(chunk, DataError):
                raise chunk
            yield chunk

    def _shuffled(self, chunks: Iterator[Chunk], start: int) -> Iterator[Chunk]:
        """Hold `shuffle` images back; one that comes takes the place of a random one, which goes."""
        held: list[Chunk] = []
        for number, (images, labels) in enumerate(chunks):
            coming = [(image.clone(), label) for image, label in zip(images.split(1), labels.split(1), strict=True)]
            places = hashing.draw(start, torch.arange(len(coming)) + number * _CHUNK, self.shuffle).tolist()
            room = self.shuffle - len(held)
            held += coming[:room]
            gone = []
            for sample, place in zip(coming[room:], places[room:], strict=True):
                gone.append(held[place])
                held[place] = sample
            yield from _joined(gone)
        yield from _joined([held[index] for index in hashing.permutation(start, len(held)).tolist()])


def _joined(samples: Sequence[Chunk]) -> Iterator[Chunk]:
    for begin in range(0, len(samples), _CHUNK):
        images, labels = zip(*samples[begin:begin + _CHUNK], strict=True)
        yield torch.cat(images), torch.cat(labels)


class _Samples(IterableDataset):
    """The samples of a source, each looked at; an error comes as a value, for loaders bury what workers raise."""

    def __init__(self, source: Iterable[Any], classes: int, name: str):
        self.source, self.classes, self.name = source, classes, name

    def __iter__(self) -> Iterator[Any]:
        worker, shape, index = get_worker_info(), None, 0
        where = f"{self.name}, worker {worker.id}" if worker is not None else self.name
        try:
            for index, sample in enumerate(self.source):
                image, label = self._look(sample, f"image {index} of {where}")
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(f"image {index} of {where} has shape {tuple(image.shape)}, image 0 has "
                                    f"{tuple(shape)}, expected one shape: add a Resize to its transform")
                yield image, label
        except DataError as error:
            yield error
        except Exception as error:  # whatever a foreign source raises
            yield DataError(f"{where} raised {type(error).__name__} near image {index}: "
                            f"{' '.join(str(error).split())}")

    def _look(self, sample: Any, what: str) -> tuple[torch.Tensor, int]:
        image, label = pair(sample, what)
        scale, label = Scale(), one_label(label, what)
        levels = read_image(image, what, scale)
        if levels.dtype == np.uint16 or scale.unit is False:
            raise DataError(f"{what} is not uint8 or floats from 0 to 1, and the range of a stream is not known before "
                            "its end: scale the images to uint8 in the source")
        if isinstance(label, str):
            raise DataError(f"the label of {what} is the name {label!r:.60}, expected a class number in a stream: give "
                            "class_names.index(label)")
        if not 0 <= label < self.classes:
            raise DataError(f"label {label} of {what} is out of range: there are {self.classes} class names, so "
                            f"labels go from 0 to {self.classes - 1}")
        return torch.from_numpy(np.array(scale.apply(levels))), label


def _collate(samples: list[Any]) -> Chunk | DataError:
    """Put samples together; a chunk with an error in it is that error."""
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
    images, labels = zip(*samples, strict=True)
    return torch.stack(images), torch.tensor(labels)


def leave_signals(worker: int) -> None:
    """Let Ctrl-C be the main process's affair: it stops between steps, saves, and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True, kw_only=True)
class StreamedDataset(Dataset):
    """A dataset whose training images come as a stream; test and validation images have indices as usual."""

    held_out: ImageSet | None = None
    """Validation images: none can be cut out of a stream."""

    def _labeled(self) -> dict[str, ImageSet]:
        return {"test": self.test} | ({"validation": self.held_out} if self.held_out is not None else {})

    def split(self, validation: int) -> tuple[ImageSet, ImageSet | None]:
        """Return the training stream and the first `validation` of the validation images, None where there are none."""
        require(validation >= 0, "validation", validation, "a whole number, 0 or more")
        if self.held_out is None or validation == 0:
            return self.train, None
        return self.train, Subset(self.held_out, torch.arange(min(validation, len(self.held_out))))

    def limit(self, count: int | None) -> "StreamedDataset":
        """Return a dataset with at most `count` training images an epoch and the first `count` test images."""
        if count is None:
            return self
        require(count >= 1, "limit", count, "a whole number of at least 1")
        train, test = self.train, Subset(self.test, torch.arange(min(count, len(self.test))))
        return replace(self, train=train.limit(count) if isinstance(train, StreamedImages) else train, test=test)


def from_iterable(train: Iterable[Any], test: ImageSet | MapDataset, class_names: Sequence[str] | None = None, *,
                  images: int | None = None, validation: ImageSet | MapDataset | None = None, workers: int = 0,
                  shuffle: int = 0, name: str = "stream", source: str = "a torch IterableDataset",
                  license: str = "unknown") -> StreamedDataset:
    """Return a dataset that trains on an IterableDataset, and is tested on images that have an index.

    Args:
        train: yields (image, label), see `StreamedImages`.
        test: a map-style torch Dataset as in `from_torch`, or another dataset's `test` or `train`.
        class_names: K names; `train.classes` or `test.classes` unless given.
        images: training images an epoch; None: all, counted by going through `train` once.
        validation: as `test`; None: training is not validated.
        workers: processes that read `train`.
        shuffle: training images held back, of which a random one comes next; 0: in the order of `train`.

    Raises:
        DataError: no images, or an image or a label that is not what it should be.
        UsageError: `test` or `validation` is a stream as well.

    Example:
        >>> class Source(IterableDataset):
        ...     def __iter__(self):
        ...         return ((torch.zeros(1, 28, 28), k % 2) for k in range(6))
        >>> from shiftscope.data.base import TensorImages
        >>> few = TensorImages(torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1]))
        >>> data = from_iterable(Source(), few, ["a", "b"])
        >>> len(data.train), data.shape
        (6, (1, 28, 28))
    """
    if class_names is None:
        class_names = shared_classes(train, test, name)
    if class_names is None:
        raise UsageError(f"class_names of {name} are missing: a stream does not tell how many classes there are")
    class_names = check_names(class_names, name)
    require_classes(class_names, name)
    stream = StreamedImages(train, count=images, classes=len(class_names), workers=workers, shuffle=shuffle, name=name)
    notes: list[str] = []
    return StreamedDataset(
        name=name, class_names=class_names, train=stream, test=_indexed(test, "test", name, class_names, notes),
        held_out=_indexed(validation, "validation", name, class_names, notes) if validation is not None else None,
        source=source, license=license, notes=tuple(notes))


def _indexed(images: ImageSet | MapDataset, which: str, name: str, class_names: Sequence[str],
             notes: list[str]) -> ImageSet:
    """Return a map-style dataset as images with an index; what is to say about them is added to `notes`."""
    if hasattr(images, "gather"):
        return images  # pyright: ignore[reportReturnType]
    if not hasattr(images, "__getitem__") or not hasattr(images, "__len__"):
        raise UsageError(f"{which} of {name} is a {type(images).__name__} without len() and indexing, expected "
                         "map-style data: evaluation and audit visit every image by its index; only training can take "
                         "a stream")
    found, more = collect_set(images, which, class_names)  # pyright: ignore[reportArgumentType]
    notes += more
    return found
