"""`shiftscope data list`, `info`, `fetch` and `pack`."""

from pathlib import Path
from typing import Annotated, Any

from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, ImageSize, OutputFlags, Switch
from shiftscope.settings import Interpolation, Resize

Json = Annotated[bool, Switch]


def show_list(*, data_dir: Path | None = None, json: Json = False) -> None:
    """List the datasets for --data, and which of them are on this machine.

    Args:
        data_dir: Folder that is searched before the default ones.
        json: Print the list as one JSON document.
    """
    from shiftscope.data import dataset_catalog

    with shown.clean_stdout(json):
        datasets = dataset_catalog(data_dir)
    if json:
        shown.write_result({"datasets": datasets})
    else:
        shown.write_table(("name", "description", "path"),
                          [(item["name"], item["description"], item["found"] or "-") for item in datasets])


def show_info(name: str, /, *, data_dir: Path | None = None, limit: int | None = None,
              image_size: Annotated[tuple[int, int] | None, ImageSize] = None, resize: Resize | None = None,
              shorter_side: int | None = None, interpolation: Interpolation | None = None,
              output: OutputFlags = OUTPUT) -> None:
    """Show the source, license, checksums and counts of one dataset.

    Args:
        name: garments, garments:TRAIN,TEST, fashion-mnist, mnist, folder:PATH, npz:FILE, csv:FILE, csv:TRAIN,TEST,
            idx:FOLDER, packed:PATH or package.module:object.
        data_dir: Folder with the dataset's files.
        limit: Use the first N training and the first N test images only.
        image_size: Height and width to which the images of a folder are resized (default: their usual size).
        resize: pad: aspect ratio kept, padded; stretch: not kept; shorter: kept, center cropped (default:
            shorter with --shorter-side, else pad).
        shorter_side: Pixels to which the shorter side of the images is scaled before the center is cropped.
        interpolation: How the images of a folder are scaled (default: bilinear, antialiased).
    """
    from shiftscope.data import dataset_info, load_dataset

    with shown.clean_stdout(output.json):
        progress = output.progress()
        info = dataset_info(load_dataset(name, data_dir=data_dir, limit=limit, image_size=image_size, resize=resize,
                                         shorter_side=shorter_side, interpolation=interpolation, progress=progress))
    if output.json:
        shown.write_result(info)
    else:
        rows = [(key.replace("_", " "), _readable(value)) for key, value in info.items()]
        shown.write_table(("property", "value"), rows)


def _readable(value: Any) -> str:
    if isinstance(value, dict):
        lines = (f"{key}: {_readable(item)}" for key, item in value.items())
        return (", " if all(isinstance(item, int) for item in value.values()) else "\n").join(lines)
    if isinstance(value, list | tuple):
        return ("\n" if any(isinstance(item, str) for item in value) else ", ").join(map(_readable, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def fetch(name: str, /, *, data_dir: Path | None = None, output: OutputFlags = OUTPUT) -> None:
    """Download the files of a dataset that are missing or damaged, and print their paths.

    Args:
        name: fashion-mnist or mnist (downloaded), or garments (synthetic).
        data_dir: Folder for the files (default: the user's cache folder).
    """
    from shiftscope.data import fetch_dataset

    with shown.clean_stdout(output.json):
        paths = fetch_dataset(name, data_dir, output.progress())
    if output.json:
        shown.write_result({"name": name, "files": paths})
        return
    for path in paths:
        shown.write_path(path)


def pack(name: str, /, *, out: Path | None = None, image_size: Annotated[tuple[int, int] | None, ImageSize] = None,
         resize: Resize | None = None, shorter_side: int | None = None, interpolation: Interpolation | None = None,
         background: int = 0, license: str | None = None, workers: int | None = None,
         data_dir: Path | None = None, output: OutputFlags = OUTPUT) -> None:
    """Write a dataset into a folder of .npy files, which packed:PATH reads without loading it into memory as a whole.

    Args:
        name: folder:PATH, npz:FILE, csv:FILE, idx:FOLDER, fashion-mnist, mnist, garments, packed:PATH or
            package.module:object.
        out: The new folder (default: the dataset's name with .pack).
        image_size: Height and width to which the images of a folder are resized (default: their usual size).
        resize: pad: aspect ratio kept, padded with the background; stretch: not kept; shorter: kept, center cropped
            (default: shorter with --shorter-side, else pad).
        shorter_side: Pixels to which the shorter side of the images is scaled before the center is cropped.
        interpolation: How the images of a folder are scaled (default: bilinear, antialiased).
        background: Pixel value of the padding (0 to 255).
        license: License of the images (default: that of the dataset).
        workers: Processes that decode the images of a folder (default: one per core; 0: this process).
        data_dir: Folder with the dataset's files.
    """
    from shiftscope.workflows.pack_data import pack_data

    with shown.clean_stdout(output.json):
        done = pack_data(name, out, data_dir=data_dir, workers=workers, image_size=image_size, resize=resize,
                         background=background, shorter_side=shorter_side, interpolation=interpolation, license=license,
                         progress=output.progress())
    if output.json:
        shown.write_result(vars(done))
        return
    shown.write_path(done.path)
