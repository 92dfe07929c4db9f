"""Training images from a torch IterableDataset: shards, an archive, a bucket."""

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from shiftscope import hashing
from shiftscope.data.arrays import collect_images, read_image, shared_classes
from shiftscope.data.base import Dataset, ImageSet, Subset, require_classes
from shiftscope.data.decoding import Scale
from shiftscope.data.items import FROM_ITERABLE, USUAL, Key, MapDataset, Parts
from shiftscope.data.labels import check_names, one_label
from shiftscope.errors import DataError, UsageError, require
from shiftscope.hashing import Stream

_CHUNK = 32  # images that a worker process sends at a time

Chunk = tuple[torch.Tensor, torch.Tensor]
"""Images uint8 (n, C, h, w) and their labels int64 (n,)."""


class StreamedImages:
    """Images of a torch IterableDataset. They have no index, so only training can use them.

    Each epoch iterates over the source again, after `source.set_epoch(epoch)` if that method exists, and takes the
    first `count` images. Random numbers in training are hashed from the position of an image within its epoch.

    Args:
        source: yields (image, label); images as in `from_torch`. With several workers, the source must divide its
            images among them (`torch.utils.data.get_worker_info`), as always with an IterableDataset.
        count: images per epoch (default: all, counted by one pass over the source).
        classes: K; labels range from 0 to K-1.
        workers: processes that read the source; 0: the training process.
        shuffle: size of the shuffle buffer; 0: the order of the source.
        name: name of the stream in errors.
        parts: which parts of an item are the image and the label.

    Raises:
        DataError: if the source is empty, or an image or label is invalid.
        UsageError: if the source can be iterated only once, like a generator.
    """

    def __init__(self, source: Iterable[Any], *, count: int | None, classes: int, workers: int = 0, shuffle: int = 0,
                 name: str = "the stream", parts: Parts = USUAL):
        for what, value, least in (("images", count, 1), ("workers", workers, 0), ("shuffle", shuffle, 0)):
            require(value is None or (isinstance(value, int) and value >= least), what, value,
                    f"an integer of at least {least}")
        if iter(source) is source:
            raise UsageError(f"{name} is a {type(source).__name__}, which ends after one pass, expected a torch "
                             "IterableDataset or another object that can be iterated repeatedly")
        self.source, self.classes, self.workers, self.shuffle, self.name = source, classes, workers, shuffle, name
        self.parts = parts.for_dataset(source)
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
                         "visualization need map-style data, so use the test set, or pack the stream with `shiftscope "
                         "data pack`")

    def to(self, device: torch.device | str) -> "StreamedImages":
        return self

    def limit(self, count: int) -> "StreamedImages":
        """Return the stream with at most `count` images per epoch."""
        return StreamedImages(self.source, count=min(count, self.count), classes=self.classes, workers=self.workers,
                              shuffle=self.shuffle, name=self.name, parts=self.parts)

    def first(self, count: int) -> Chunk:
        """Return the first `count` images, or all if there are fewer, read in this process."""
        chunks: list[Chunk] = []
        for chunk in self._chunks(0, 0, workers=0):
            chunks.append(chunk)
            if sum(len(labels) for _, labels in chunks) >= count:
                break
        if not chunks:
            raise DataError(f"{self.name} is empty, expected at least one image")
        images, labels = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        return images[:count], labels[:count]

    def epoch(self, number: int, seed: int = 0) -> Iterator[Chunk]:
        """Yield the `count` images of an epoch in chunks.

        Raises:
            DataError: if the source has fewer images, or an image or label is invalid.
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
        raise DataError(f"{self.name} ended after {done:,} images, expected {self.count:,} per epoch: pass "
                        f"images={done}, or omit it to count them")

    def _chunks(self, number: int, seed: int, workers: int) -> Iterator[Chunk]:
        set_epoch = getattr(self.source, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(number)
        samples = _Samples(self.source, self.classes, self.name, self.parts)
        generator = torch.Generator().manual_seed(hashing.stream(Stream.STREAMED_SEED, seed, number))
        loader = DataLoader(samples, batch_size=_CHUNK, collate_fn=_collate, num_workers=workers, generator=generator,
                            worker_init_fn=ignore_interrupt)
        for chunk in loader:
            if isinstance(chunk, DataError):
                raise chunk
            yield chunk

    def _shuffled(self, chunks: Iterator[Chunk], start: int) -> Iterator[Chunk]:
        """Keep `shuffle` images in a buffer; each new one replaces a random one, which is yielded."""
        buffer: list[Chunk] = []
        for number, (images, labels) in enumerate(chunks):
            new = [(image.clone(), label) for image, label in zip(images.split(1), labels.split(1), strict=True)]
            positions = hashing.draw(start, torch.arange(len(new)) + number * _CHUNK, self.shuffle).tolist()
            free = self.shuffle - len(buffer)
            buffer += new[:free]
            replaced = []
            for sample, position in zip(new[free:], positions[free:], strict=True):
                replaced.append(buffer[position])
                buffer[position] = sample
            yield from _joined(replaced)
        yield from _joined([buffer[index] for index in hashing.permutation(start, len(buffer)).tolist()])


def _joined(samples: Sequence[Chunk]) -> Iterator[Chunk]:
    for begin in range(0, len(samples), _CHUNK):
        images, labels = zip(*samples[begin:begin + _CHUNK], strict=True)
        yield torch.cat(images), torch.cat(labels)


class _Samples(IterableDataset):
    """The validated samples of a source. Errors are yielded as values, because DataLoader hides what workers raise."""

    def __init__(self, source: Iterable[Any], classes: int, name: str, parts: Parts):
        self.source, self.classes, self.name, self.parts = source, classes, name, parts

    def __iter__(self) -> Iterator[Any]:
        worker, shape, index = get_worker_info(), None, 0
        where = f"{self.name}, worker {worker.id}" if worker is not None else self.name
        try:
            for index, sample in enumerate(self.source):
                image, label = self._validate(sample, f"image {index} of {where}")
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(f"image {index} of {where} has shape {tuple(image.shape)}, image 0 has "
                                    f"{tuple(shape)}, expected one shape: add a Resize to its transform")
                yield image, label
        except DataError as error:
            yield error
        except Exception as error:  # the user's source may raise anything
            yield DataError(f"{where} raised {type(error).__name__} near image {index}: "
                            f"{' '.join(str(error).split())}")

    def _validate(self, sample: Any, what: str) -> tuple[torch.Tensor, int]:
        image, label = self.parts.split(sample, what)
        scale, label = Scale(), one_label(label, what)
        levels = read_image(image, what, scale)
        if levels.dtype == np.uint16 or scale.unit is False:
            raise DataError(f"{what} is not uint8 or floats from 0 to 1, and the range of a stream is unknown before "
                            "its end: scale the images to uint8 in the source")
        if isinstance(label, str):
            raise DataError(f"the label of {what} is the name {label!r:.60}, expected a class number in a stream: pass "
                            "class_names.index(label)")
        if not 0 <= label < self.classes:
            raise DataError(f"label {label} of {what} is out of range: there are {self.classes} class names, so "
                            f"labels go from 0 to {self.classes - 1}")
        return torch.from_numpy(np.array(scale.apply(levels))), label


def _collate(samples: list[Any]) -> Chunk | DataError:
    """Stack samples; a chunk that contains an error is that error."""
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
    images, labels = zip(*samples, strict=True)
    return torch.stack(images), torch.tensor(labels)


def ignore_interrupt(worker: int) -> None:
    """Ignore Ctrl-C in a worker: the main process stops between steps, saves, and then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass(frozen=True, kw_only=True)
class StreamedDataset(Dataset):
    """A dataset whose training images are a stream; test and validation images have indices."""

    held_out: ImageSet | None = None
    """Validation images, which cannot be taken from a stream."""

    def _labeled(self) -> dict[str, ImageSet]:
        return {"test": self.test} | ({"validation": self.held_out} if self.held_out is not None else {})

    def split(self, validation: int) -> tuple[ImageSet, ImageSet | None]:
        """Return the training stream and the first `validation` of the validation images, or None if there are none."""
        require(validation >= 0, "validation", validation, "an integer of at least 0")
        if self.held_out is None or validation == 0:
            return self.train, None
        return self.train, Subset(self.held_out, torch.arange(min(validation, len(self.held_out))))

    def limit(self, count: int | None) -> "StreamedDataset":
        """Return a dataset with at most `count` training images per epoch and the first `count` test images."""
        if count is None:
            return self
        require(count >= 1, "limit", count, "an integer of at least 1")
        train, test = self.train, Subset(self.test, torch.arange(min(count, len(self.test))))
        return replace(self, train=train.limit(count) if isinstance(train, StreamedImages) else train, test=test)


def from_iterable(train: Iterable[Any], test: ImageSet | MapDataset, class_names: Sequence[str] | None = None, *,
                  images: int | None = None, validation: ImageSet | MapDataset | None = None, workers: int = 0,
                  shuffle: int = 0, image: Key | None = None, label: Key | None = None, name: str = "stream",
                  source: str = "a torch IterableDataset", license: str = "unknown") -> StreamedDataset:
    """Return a dataset with training images from an IterableDataset and map-style test images.

    Args:
        train: yields (image, label), see `StreamedImages`.
        test: a map-style torch Dataset as in `from_torch`, or `test` or `train` of another dataset.
        class_names: K names (default: `train.classes` or `test.classes`).
        images: training images per epoch (default: all, counted by one pass over `train`).
        validation: as `test`; None: no validation.
        workers: processes that read `train`.
        shuffle: size of the shuffle buffer; 0: the order of `train`.
        image: key, attribute or index of the image in an item, as in `from_torch`.
        label: likewise of the label.

    Raises:
        DataError: if there are no images, or an image or label is invalid.
        UsageError: if `test` or `validation` is a stream too.

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
    parts = Parts(image, label, FROM_ITERABLE)
    if class_names is None:
        class_names = shared_classes(train, test, name, parts)
    if class_names is None:
        raise UsageError(f"class_names of {name} are missing: they cannot be derived from a stream")
    class_names = check_names(class_names, name)
    require_classes(class_names, name)
    stream = StreamedImages(train, count=images, classes=len(class_names), workers=workers, shuffle=shuffle, name=name,
                            parts=parts)
    notes: list[str] = []
    held_out = None
    if validation is not None:
        held_out = _indexed(validation, "validation", name, class_names, notes, parts)
    return StreamedDataset(
        name=name, class_names=class_names, train=stream, test=_indexed(test, "test", name, class_names, notes, parts),
        held_out=held_out,
        source=source, license=license, notes=tuple(notes))


def _indexed(images: ImageSet | MapDataset, which: str, name: str, class_names: Sequence[str],
             notes: list[str], parts: Parts) -> ImageSet:
    """Return a map-style dataset as images with an index; notes about them are added to `notes`."""
    if hasattr(images, "gather"):
        return images  # pyright: ignore[reportReturnType]
    if not hasattr(images, "__getitem__") or not hasattr(images, "__len__"):
        raise UsageError(f"{which} of {name} is a {type(images).__name__} without len() and indexing, expected "
                         "map-style data: only training can use a stream")
    collected, more = collect_images(images, which, class_names, parts)  # pyright: ignore[reportArgumentType]
    notes += more
    return collected
