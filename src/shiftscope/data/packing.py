"""Writes packed folders, see `packed.py`, chunk by chunk: a dataset need not fit into memory."""

import hashlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader

from shiftscope import files
from shiftscope.data.base import Dataset
from shiftscope.data.folder import LICENSE, cores, files_of, plan_folder
from shiftscope.data.image_file import measure, read_pixels
from shiftscope.data.layout import image_files, list_layout, shuffled
from shiftscope.data.packed import DESCRIPTION, TYPES, VERSION
from shiftscope.data.resizing import Target
from shiftscope.data.streamed import StreamedImages, ignore_interrupt
from shiftscope.errors import DataError, OutputError, ShiftscopeError, UsageError, require
from shiftscope.geometry import Size
from shiftscope.preparation import Preparation
from shiftscope.progress import Progress, SilentProgress
from shiftscope.settings import Resize

_CHUNK_BYTES = 4 * 2**20  # of pixels that are decoded and written at a time
_MAX_CHUNK = 64  # images, so that small folders occupy all worker processes too
_CHUNKS_PER_WORKER = 4  # fewer are not worth the start of another process

Chunk = tuple[np.ndarray, np.ndarray]
"""Images uint8 (n, C, h, w) and their labels (n,)."""

Stop = Callable[[], bool]
"""Returns True if the work should stop."""

_T = TypeVar("_T")


# ---------------------------------------------------------------------- sources to pack

@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset to pack: its description, and its images in chunks."""

    name: str
    class_names: tuple[str, ...]
    source: str
    license: str
    shape: tuple[int, int, int]
    """(C, h, w) of every image. One channel is stored if C is 3 and all chunks have one channel."""
    counts: dict[str, int]
    """Number of images of "train" and "test"."""
    chunks: Callable[[str], Iterator[Chunk]]
    """Yields the chunks of a split, with C channels or one."""
    checksums: dict[str, str] = field(default_factory=dict)
    synthetic: bool = False
    resize: Resize | None = None
    preparation: str = ""
    prepared: Preparation | None = None


def from_dataset(data: Dataset) -> Source:
    """Return a dataset as a source; a stream of training images is read once.

    Raises:
        DataError: if it has no labels or no training images.
    """
    data.require_training("packing")
    def chunks(split: str) -> Iterator[Chunk]:
        images = data.train if split == "train" else data.test
        if isinstance(images, StreamedImages):
            for pixels, labels in images.epoch(0):
                yield pixels.numpy(), labels.numpy()
            return
        for rows in torch.arange(len(images)).split(_chunk_length(data.shape)):
            yield images.gather(rows).cpu().numpy(), images.labels[rows].numpy()

    return Source(name=data.name, class_names=data.class_names, source=data.source, license=data.license,
                  shape=data.shape, counts={"train": len(data.train), "test": len(data.test)}, chunks=chunks,
                  checksums=data.checksums, synthetic=data.synthetic, resize=data.resize,
                  preparation=data.preparation, prepared=data.prepared)


def from_folder(path: Path | str, *, image_size: Size | None = None, workers: int | None = None,
                progress: Progress | None = None, stop: Stop | None = None, **how: Any) -> Source:
    """Return a folder of image files as a source: the same images in the same order as `read_folder`.

    The headers of all files are read first, because they decide about the size.

    Args:
        image_size, how: as in `read_folder`.
        workers: processes that decode images (default: one per core; 0: the calling one). Threads would not help:
            decoding small images is mostly Python code.
        stop: called regularly.

    Raises:
        DataError: see `read_folder`.
        ShiftscopeError: if a worker process died.
        KeyboardInterrupt: if `stop` returned True.
    """
    require(workers is None or workers >= 0, "workers", workers, "an integer of at least 0")
    path, count = Path(path).expanduser(), cores() if workers is None else workers
    layout, progress = list_layout(path), progress or SilentProgress()
    if not layout.train:
        raise DataError(f"{path} has no {'training images' if layout.labeled else 'labels'}, and packing needs labeled "
                        "training and test images: sort them into one folder per class below train/ and test/")
    paths, headers = files_of(layout), []
    task = progress.task(f"read headers of {path.name}", len(paths), unit="files")
    try:
        for some in _parallel(measure, paths, _MAX_CHUNK, count):
            _check_stop(stop)
            task.advance(len(some))
            headers += some
    finally:
        task.close()
    plan = plan_folder(path, layout, headers, image_size, how=Preparation(**how))
    for note in plan.notes:
        progress.note(note)
    listings, shape = {"train": layout.train, "test": layout.test}, (1 if plan.gray else 3, *plan.target.size)

    def chunks(split: str) -> Iterator[Chunk]:
        paths, labels = zip(*shuffled(listings[split]), strict=True)
        decode, begin = partial(_decode, target=plan.target, bits=plan.bits), 0
        for images in _parallel(decode, paths, _chunk_length(shape), count):
            yield np.concatenate(np.broadcast_arrays(*images)), np.array(labels[begin:begin + len(images)])
            begin += len(images)

    return Source(name=plan.name, class_names=tuple(layout.train), source=plan.source, license=LICENSE, shape=shape,
                  chunks=chunks, counts={split: len(image_files(listing)) for split, listing in listings.items()},
                  resize=plan.target.resize, preparation=plan.preparation, prepared=plan.prepared)


def _chunk_length(shape: tuple[int, int, int]) -> int:
    return min(_MAX_CHUNK, max(1, _CHUNK_BYTES // prod(shape)))


def _decode(path: Path, target: Target, bits: int) -> np.ndarray:
    """Return an image (1, C, h, w), with three channels if it has a colored pixel."""
    pixels = read_pixels(path, target, bits=bits)
    return pixels[None] if (pixels != pixels[:1]).any() else pixels[None, :1]


class _Work(torch.utils.data.Dataset):
    """Results of `work` by index. Errors are returned as values, because DataLoader hides what workers raise."""

    def __init__(self, work: Callable[[Any], Any], values: Sequence[Any]):
        self.work, self.values = work, values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.work(self.values[index])
        except DataError as error:
            return error


def _parallel(work: Callable[[Any], _T], values: Sequence[Any], batch: int, workers: int) -> Iterator[list[_T]]:
    """Yield `work` of all values in order, in batches computed by processes that run at most a few batches ahead."""
    workers = min(workers, len(values) // (batch * _CHUNKS_PER_WORKER))
    loader = DataLoader(_Work(work, values), batch, num_workers=workers, collate_fn=list,
                        worker_init_fn=ignore_interrupt, generator=torch.Generator())
    try:
        for results in loader:
            for error in (result for result in results if isinstance(result, DataError)):
                raise error
            yield results
    except RuntimeError as error:  # of the loader itself
        raise ShiftscopeError("a process that decodes images died, perhaps because memory ran out: try fewer "
                              f"--workers, or 0 ({' '.join(str(error).split())[:200]})") from error


# ---------------------------------------------------------------------- writing

@dataclass(frozen=True, kw_only=True)
class Packed:
    """A packed folder that was written."""

    path: Path
    bytes: int
    name: str
    shape: tuple[int, int, int]
    """(C, h, w) of every image."""
    train_images: int
    test_images: int
    license: str
    checksums: dict[str, str]


def pack(source: Source, path: Path | str, *, license: str | None = None, progress: Progress | None = None,
         stop: Stop | None = None) -> Packed:
    """Write a dataset into a new packed folder; after an error nothing of it is left.

    Args:
        source: from `from_dataset` or `from_folder`.
        path: the folder, which must not exist.
        license: license of the images (default: that of the source).
        stop: called between chunks.

    Raises:
        UsageError: if `path` exists.
        OutputError: if the folder cannot be written or the disk is full.
        DataError: if an image is not readable.
        KeyboardInterrupt: if `stop` returned True.

    Example:
        >>> import tempfile
        >>> from shiftscope.data import load_dataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     packed = pack(from_dataset(load_dataset("garments:20,10")), f"{folder}/garments.pack")
        ...     len(load_dataset(f"packed:{packed.path}").train)
        20
    """
    path, license = Path(path).expanduser(), source.license if license is None else license
    require_new(path)
    task = (progress or SilentProgress()).task(f"pack {source.name}", sum(source.counts.values()))

    def advance(count: int) -> None:
        _check_stop(stop)
        task.advance(count)

    try:
        with files.new_folder(path) as folder:
            _require_space(path, source)
            shape, checksums = _write_arrays(folder, source, advance)
            checksums = source.checksums | checksums
            files.write_json(folder / DESCRIPTION, {
                "schema_version": VERSION, "name": source.name, "class_names": source.class_names,
                "source": source.source, "license": license, "synthetic": source.synthetic, "checksums": checksums,
                "resize": source.resize, "preparation": source.preparation,
                "prepared": None if source.prepared is None else source.prepared.to_dict(),
                "files": {file.name: _listed(file) for file in sorted(folder.iterdir())}})
            size = sum(file.stat().st_size for file in folder.iterdir())
    finally:
        task.close()
    return Packed(path=path, bytes=size, name=source.name, shape=shape, license=license, checksums=checksums,
                  train_images=source.counts["train"], test_images=source.counts["test"])


def require_new(path: Path) -> None:
    """Raise a `UsageError` if `path` exists."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already: choose another folder with --out, or remove it")


def _check_stop(stop: Stop | None) -> None:
    if stop is not None and stop():
        raise KeyboardInterrupt


def _require_space(path: Path, source: Source) -> None:
    """Raise an `OutputError` if not even one channel of all images fits on the disk."""
    needed = sum(source.counts.values()) * prod(source.shape[1:])
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise OutputError(f"cannot write {path}: packing {source.name} takes {needed / 1e6:,.0f} MB or more, "
                          f"{free / 1e6:,.0f} MB are free there; free some space or choose another folder")


def _write_arrays(folder: Path, source: Source,
                  advance: Callable[[int], None]) -> tuple[tuple[int, int, int], dict[str, str]]:
    """Write the arrays of both splits; return the shape of an image and the SHA-256 of the pixels by split."""
    channels, checksums = 1, {}

    def pixels(split: str, labels: list[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal channels
        for images, numbers in source.chunks(split):
            advance(len(images))
            labels.append(numbers)
            channels = max(channels, images.shape[1])
            yield images

    for split, count in source.counts.items():
        labels: list[np.ndarray] = []
        checksums[f"{split}_images"] = _write_images(folder, split, (count, *source.shape), pixels(split, labels))
        np.save(folder / f"{split}_labels.npy", np.concatenate(labels).astype(TYPES["labels"]))
    shape = (channels, *source.shape[1:])
    if shape != source.shape:  # color files without a colored pixel
        for split, count in source.counts.items():
            written = folder / f"{split}_images.npy"
            images = np.load(written.rename(folder / "color.npy"), mmap_mode="r")
            chunks = (images[begin:begin + _MAX_CHUNK, :1] for begin in range(0, count, _MAX_CHUNK))
            checksums[f"{split}_images"] = _write_images(folder, split, (count, *shape), chunks)
            (folder / "color.npy").unlink()
    return shape, checksums


def _write_images(folder: Path, split: str, shape: tuple[int, ...], chunks: Iterable[np.ndarray]) -> str:
    """Write the images of a split and their CRC-32; return the SHA-256 of the pixels."""
    digest, crc32 = hashlib.sha256(), np.empty(0, TYPES["crc32"])
    with (folder / f"{split}_images.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": TYPES["images"], "fortran_order": False, "shape": tuple(map(int, shape))})
        sums: list[np.ndarray] = [crc32]
        for chunk in chunks:
            images = np.ascontiguousarray(np.broadcast_to(chunk, (len(chunk), *shape[1:])))
            file.write(images.data)
            digest.update(images.reshape(-1).data)
            sums.append(np.fromiter(map(zlib.crc32, images), TYPES["crc32"], len(images)))
    np.save(folder / f"{split}_crc32.npy", np.concatenate(sums))
    return digest.hexdigest()


def _listed(file: Path) -> dict[str, Any]:
    listed: dict[str, Any] = {"bytes": file.stat().st_size}
    if not file.name.endswith("_images.npy"):
        listed["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    return listed
