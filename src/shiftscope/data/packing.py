"""Writes packed files, see `packed.py`: chunk by chunk, so that a dataset need not fit in memory."""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from shiftscope import files
from shiftscope.data import packed
from shiftscope.data.base import Dataset
from shiftscope.data.folder import LICENSE, Size, files_of, plan_folder
from shiftscope.data.layout import list_layout, pictures, shuffled
from shiftscope.data.picture import Header, measure, read_picture
from shiftscope.data.streamed import StreamedImages, leave_signals
from shiftscope.errors import DataError, OutputError, ShiftscopeError, require
from shiftscope.progress import Progress, SilentProgress, Task

FORMATTED = 1
"""Version of the header's JSON."""

_CHUNK_BYTES = 4 * 2**20  # of pixels that a worker decodes before it hands them on
_MOST_IN_CHUNK = 64  # files, so that a short folder keeps all workers busy too
_WORTH = 4  # chunks for which another process is worth its start

Chunk = tuple[np.ndarray, np.ndarray]
"""Images uint8 (n, C, h, w) and their labels (n,)."""

Stop = Callable[[], bool]
"""Says whether to stop."""

_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is packed: what a `Dataset` tells of itself, and its images, chunk by chunk.

    Chunks may differ in channels: gray ones (one channel) beside colored ones are repeated to three.
    """

    name: str
    class_names: tuple[str, ...]
    source: str
    license: str
    size: Size
    """(height, width) of every image."""
    counts: dict[str, int]
    """Images of "train" and "test"."""
    chunks: Callable[[str], Iterator[Chunk]]
    """From the name of a split to its chunks."""
    checksums: dict[str, str] = field(default_factory=dict)
    synthetic: bool = False


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was packed, and where."""

    path: Path
    bytes: int
    name: str
    shape: tuple[int, int, int]
    """(C, h, w) of every image."""
    train_images: int
    test_images: int
    license: str
    checksums: dict[str, str]


# ---------------------------------------------------------------------- sources

def from_dataset(data: Dataset) -> Source:
    """Return a dataset as something to pack; training images that come as a stream are visited once."""
    def chunks(split: str) -> Iterator[Chunk]:
        images = data.train if split == "train" else data.test
        if isinstance(images, StreamedImages):
            for pixels, labels in images.epoch(0):
                yield pixels.numpy(), labels.numpy()
            return
        for rows in torch.arange(len(images)).split(_chunk_length(data.shape)):
            yield images.gather(rows).cpu().numpy(), images.labels[rows].numpy()

    return Source(name=data.name, class_names=data.class_names, source=data.source, license=data.license,
                  size=data.shape[1:], counts={"train": len(data.train), "test": len(data.test)}, chunks=chunks,
                  checksums=data.checksums, synthetic=data.synthetic)


def from_folder(path: Path | str, *, image_size: Size | None = None, workers: int | None = None,
                progress: Progress | None = None, stop: Stop | None = None) -> Source:
    """Return the pictures below a folder as something to pack: the same images in the same order as `read_folder`.

    Sizes are read first, all files' headers, for the most common one decides.

    Args:
        workers: processes that decode pictures (default: one a core; 0: this one). Threads gain nothing: with small
            pictures, most of the time goes into Python.
        stop: asked now and then whether to stop.

    Raises:
        DataError: see `read_folder`.
        ShiftscopeError: a worker process died.
        KeyboardInterrupt: asked to stop.
    """
    require(workers is None or workers >= 0, "workers", workers, "a whole number of at least 0")
    path, count = Path(path).expanduser(), _cores() if workers is None else workers
    layout = list_layout(path)
    listings = {"train": layout.train, "test": layout.test}
    task = (progress or SilentProgress()).task(f"look at {path.name}", len(files_of(layout)), unit="files")
    try:
        plan = plan_folder(path, layout, _measured(files_of(layout), count, task, stop), image_size)
    finally:
        task.close()
    for note in plan.notes:
        (progress or SilentProgress()).note(note)

    def chunks(split: str) -> Iterator[Chunk]:
        decode = partial(_decode, size=plan.size, bits=plan.bits)
        return _in_order(decode, _pieces(shuffled(listings[split]), (3, *plan.size)), count)

    return Source(name=plan.name, class_names=tuple(layout.train), source=plan.source, license=LICENSE, size=plan.size,
                  counts={split: len(pictures(listing)) for split, listing in listings.items()}, chunks=chunks)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chunk_length(shape: Sequence[int]) -> int:
    return int(min(_MOST_IN_CHUNK, max(1, _CHUNK_BYTES // np.prod(shape))))


def _pieces(values: list[Any], shape: Sequence[int]) -> list[list[Any]]:
    length = _chunk_length(shape)
    return [values[begin:begin + length] for begin in range(0, len(values), length)]


def _measured(paths: list[Path], workers: int, task: Task, stop: Stop | None) -> Iterator[Header]:
    for headers in _in_order(_measure, _pieces(paths, (1,)), workers):
        _obey(stop)
        task.advance(len(headers))
        yield from headers


def _measure(some: list[Path]) -> list[Header]:
    return [measure(path) for path in some]


def _decode(some: list[tuple[Path, int]], size: Size, bits: int) -> Chunk:
    """Return a few pictures, with one channel where none of them is colored, else three."""
    images = np.stack([read_picture(path, size, bits=bits).numpy() for path, _ in some])
    colored = bool((images != images[:, :1]).any())
    return images if colored else images[:, :1], np.array([label for _, label in some])


class _Work(torch.utils.data.Dataset):
    """The pieces of some work; an error comes as a value, for loaders bury what their processes raise."""

    def __init__(self, work: Callable[[Any], Any], pieces: Sequence[Any]):
        self.work, self.pieces = work, pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.work(self.pieces[index])
        except DataError as error:
            return error


def _as_it_is(value: Any) -> Any:
    return value


def _in_order(work: Callable[[Any], _Found], pieces: Sequence[Any], workers: int) -> Iterator[_Found]:
    """Yield `work` of each piece in their order, done by processes that run at most a few pieces ahead."""
    loader = DataLoader(_Work(work, pieces), batch_size=None, num_workers=min(workers, len(pieces) // _WORTH),
                        collate_fn=_as_it_is, worker_init_fn=leave_signals, generator=torch.Generator())
    try:
        for found in loader:
            if isinstance(found, DataError):
                raise found
            yield found
    except RuntimeError as error:  # of the loader itself
        raise ShiftscopeError("a process that decodes pictures died, perhaps because memory ran out: try fewer "
                              f"--workers, or 0 ({' '.join(str(error).split())[:200]})") from error


# ---------------------------------------------------------------------- the file

def pack(source: Source, path: Path | str, *, license: str | None = None, progress: Progress | None = None,
         stop: Stop | None = None) -> Packed:
    """Write a dataset into one packed file, whole or not at all.

    Args:
        source: what `from_dataset` or `from_folder` returned.
        path: the file; one that is there is replaced when the new one is complete.
        license: the images' license (default: what the source says).
        stop: asked between chunks whether to stop.

    Raises:
        OutputError: the folder cannot be written or the disk is full.
        DataError: an image is not readable.
        KeyboardInterrupt: asked to stop; nothing is left.

    Example:
        >>> import tempfile
        >>> from shiftscope.data import load_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = pack(from_dataset(load_dataset("garments:20,10")), f"{folder}/garments.pack")
        ...     len(load_dataset(f"packed:{done.path}").train)
        20
    """
    path = Path(path).expanduser()
    source = replace(source, license=license) if license is not None else source
    task = (progress or SilentProgress()).task(f"pack {source.name}", sum(source.counts.values()))
    try:
        with files.replacing(path) as handle:
            _require_space(path, source)
            writer = _Writer(handle, source.size)
            for split in source.counts:
                writer.begin(split)
                for images, labels in source.chunks(split):
                    _obey(stop)
                    writer.add(images, labels)
                    task.advance(len(images))
            size = writer.finish(source)
    finally:
        task.close()
    return Packed(path=path, bytes=size, name=source.name, shape=writer.shape, license=source.license,
                  train_images=writer.counts["train"], test_images=writer.counts["test"],
                  checksums=source.checksums | writer.checksums())


def _obey(stop: Stop | None) -> None:
    if stop is not None and stop():
        raise KeyboardInterrupt


def _require_space(path: Path, source: Source) -> None:
    """Raise an `OutputError` at once where not even one channel of all images would find room."""
    needed = sum(source.counts.values()) * source.size[0] * source.size[1]
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(f"cannot write {path}: packing {source.name} takes {needed / 1e6:,.0f} MB or more, "
                          f"{free / 1e6:,.0f} MB are free there; free some space or choose another folder")


class _Writer:
    """Appends images; they have one channel until the first colored one comes.

    Args:
        handle: the file, open for writing and reading.
        size: (height, width).
    """

    def __init__(self, handle: int, size: Size):
        self.handle, self.size, self.channels = handle, size, 0
        self.counts: dict[str, int] = {}
        self.labels: list[np.ndarray] = []
        self._digest()

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, *self.size

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def begin(self, split: str) -> None:
        self.counts[split] = 0

    def add(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Append a chunk to the split that was begun last."""
        split = next(reversed(self.counts))
        if images.shape[1] > self.channels:
            self._widen(images.shape[1])
        elif images.shape[1] < self.channels:
            images = images.repeat(self.channels, axis=1)
        images = np.ascontiguousarray(images)
        self._write(self._place(self.count), images.data)
        self._sum(split, images)
        self.labels.append(labels)
        self.counts[split] += len(images)

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of the pixels of each split."""
        return {f"{split}_images": digest.hexdigest() for split, digest in self.digests.items()}

    def finish(self, source: Source) -> int:
        """Write everything but the images and return the length of the file."""
        end, arrays = self._place(self.count), {}
        arrays["images"] = {"place": packed.ALIGNMENT, "type": packed.TYPES["images"],
                            "shape": [self.count, *self.shape]}
        for name, values in (("labels", np.concatenate(self.labels)), ("sums", np.concatenate(self.sums))):
            content = values.astype(packed.TYPES[name]).tobytes()
            place = -(-end // packed.ALIGNMENT) * packed.ALIGNMENT
            arrays[name] = {"place": place, "type": packed.TYPES[name], "shape": list(values.shape),
                            "crc32": zlib.crc32(content)}
            end = self._write(place, content)
        header = self._header(source, arrays)
        length = self._write(end, header)
        self._write(0, packed.PREAMBLE.pack(packed.MAGIC, packed.VERSION, zlib.crc32(header), end, len(header), length))
        return length

    def _header(self, source: Source, arrays: dict[str, Any]) -> bytes:
        ends = np.cumsum(list(self.counts.values())).tolist()
        splits = {split: [end - count, end] for (split, count), end in zip(self.counts.items(), ends, strict=True)}
        return json.dumps(files.plain({
            "schema_version": FORMATTED, "name": source.name, "class_names": list(source.class_names),
            "source": source.source, "license": source.license, "synthetic": source.synthetic,
            "checksums": source.checksums | self.checksums(), "splits": splits, "arrays": arrays})).encode()

    def _place(self, index: int) -> int:
        return packed.ALIGNMENT + index * int(np.prod(self.shape))

    def _write(self, place: int, content: bytes | memoryview) -> int:
        """Write at a place, which may lie beyond the end so far; return where the content ends."""
        view = memoryview(content).cast("B")
        os.lseek(self.handle, place, os.SEEK_SET)
        files.write_all(self.handle, view)
        return place + len(view)

    def _digest(self) -> None:
        self.digests: dict[str, Any] = {}
        self.sums: list[np.ndarray] = []

    def _sum(self, split: str, images: np.ndarray) -> None:
        self.digests.setdefault(split, hashlib.sha256()).update(images.reshape(-1))
        self.sums.append(np.fromiter(map(zlib.crc32, images), dtype=np.uint32, count=len(images)))

    def _widen(self, channels: int) -> None:
        """Repeat the one channel of all images so far, from the last to the first so that none is overwritten."""
        pieces = self._written()
        before, self.channels = self.shape, channels
        for _, begin, end in reversed(pieces):
            self._write(self._place(begin), self._read(begin, end, before).repeat(channels, axis=1).data)
        self._digest()
        for split, begin, end in pieces:
            self._sum(split, self._read(begin, end, self.shape))

    def _written(self) -> list[tuple[str, int, int]]:
        """Return the images so far, as (split, first, end) of pieces that fit in memory."""
        found, first = [], 0
        for split, count in self.counts.items():
            cuts = [*range(first, first + count, _MOST_IN_CHUNK), first + count]
            found += [(split, begin, end) for begin, end in pairwise(cuts)]
            first += count
        return found

    def _read(self, begin: int, end: int, shape: tuple[int, int, int]) -> np.ndarray:
        one, content = int(np.prod(shape)), bytearray()
        os.lseek(self.handle, packed.ALIGNMENT + begin * one, os.SEEK_SET)
        while len(content) < (end - begin) * one:
            content += os.read(self.handle, (end - begin) * one - len(content))
        return np.frombuffer(content, dtype=np.uint8).reshape(end - begin, *shape)
