"""`shiftscope data pack`: any dataset into a packed folder."""

from pathlib import Path

from shiftscope.data import load_dataset
from shiftscope.data.packing import Packed, from_dataset, from_folder, pack, require_new
from shiftscope.errors import Interrupted
from shiftscope.preparation import Preparation
from shiftscope.progress import Progress
from shiftscope.settings import Interpolation, Resize
from shiftscope.training.stopping import StopFlag

SUFFIX = ".pack"


def pack_data(name: str, out: Path | None = None, *, data_dir: Path | None = None, workers: int | None = None,
              image_size: tuple[int, int] | None = None, resize: Resize | None = None, background: int = 0,
              shorter_side: int | None = None, interpolation: Interpolation | None = None,
              license: str | None = None, progress: Progress) -> Packed:
    """Write the dataset called `name` into a new folder.

    Args:
        name: as in `load_dataset`. A folder of image files is never in memory as a whole.
        out: the new folder (default: the dataset's name with .pack, in the current folder).
        workers: processes that decode the images of a folder (default: one per core).
        image_size, resize, background, shorter_side, interpolation: how the images of a folder are
            resized, see `load_dataset`.
        license: license of the images (default: that of the dataset).

    Raises:
        UsageError: if `out` exists, or `name` is unknown.
        DataError: if an image is missing or damaged.
        OutputError: if the folder cannot be written or the disk is full; nothing is left of it.
        Interrupted: if a signal stopped the work; nothing is left of the new folder.
    """
    if out is not None:
        require_new(out)
    kind, _, rest = name.partition(":")
    with StopFlag().listening() as flag:
        try:
            if kind == "folder" and rest:
                how = Preparation.of(resize=resize, background=background, shorter_side=shorter_side,
                                     interpolation=interpolation)
                source = from_folder(rest, image_size=image_size, workers=workers, progress=progress,
                                     stop=flag.__bool__, **vars(how))
            else:
                source = from_dataset(load_dataset(name, data_dir=data_dir, progress=progress, image_size=image_size,
                                                   resize=resize, shorter_side=shorter_side,
                                                   interpolation=interpolation))
            return pack(source, out or Path(source.name + SUFFIX), license=license, progress=progress,
                        stop=flag.__bool__)
        except KeyboardInterrupt as error:
            raise Interrupted(f"packing {name} was interrupted; no partial folder remains",
                              flag.exit_code or Interrupted("").exit_code) from error
