"""`shiftscope data pack`: write a dataset into one packed file."""

import os
from pathlib import Path

from shiftscope.data import load_dataset
from shiftscope.data.packing import Packed, from_dataset, from_folder, pack
from shiftscope.errors import Interrupted, UsageError
from shiftscope.progress import Progress
from shiftscope.training.stopping import StopFlag

SUFFIX = ".pack"


def pack_data(name: str, out: Path | None = None, *, data_dir: Path | None = None, workers: int | None = None,
              image_size: tuple[int, int] | None = None, license: str | None = None, overwrite: bool = False,
              progress: Progress) -> Packed:
    """Write a dataset into one file; after an error, no partial file remains.

    A folder of images is not loaded into memory. `out` defaults to the dataset's name with .pack in the current
    folder; for the other arguments see `from_folder` and `pack`.

    Raises:
        UsageError: if the file exists, or `name` is unknown.
        DataError, OutputError: if an image is missing or damaged, or the file cannot be written.
        Interrupted: if stopped by a signal.
    """
    if out is not None:
        _require_free(out, overwrite)
    kind, _, rest = name.partition(":")
    with StopFlag().listening() as flag:
        try:
            if kind == "folder" and rest:
                source = from_folder(rest, image_size=image_size, workers=workers, progress=progress,
                                     stop=flag.__bool__)
            else:
                source = from_dataset(load_dataset(name, data_dir=data_dir, progress=progress, image_size=image_size))
            path = out if out is not None else Path(source.name + SUFFIX)
            _require_free(path, overwrite)
            return pack(source, path, license=license, progress=progress, stop=flag.__bool__)
        except KeyboardInterrupt as error:
            raise Interrupted(f"packing {name} was interrupted; no partial file remains",
                              flag.exit_code or Interrupted("").exit_code) from error


def _require_free(path: Path, overwrite: bool) -> None:
    if os.path.lexists(path) and not overwrite:
        raise UsageError(f"{path} already exists: replace it with --overwrite, or choose another file with --out")
