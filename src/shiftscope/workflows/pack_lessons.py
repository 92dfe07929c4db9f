"""`shiftscope lessons --pack`: lessons, images and a report for a class, in one folder or archive."""

import os
import tempfile
import zipfile
from pathlib import Path

from shiftscope import files
from shiftscope.data import dataset_catalog
from shiftscope.data.fashion_mnist import FASHION_MNIST
from shiftscope.errors import UsageError
from shiftscope.progress import Progress
from shiftscope.settings import DataSettings, RunSettings
from shiftscope.workflows.copy_lessons import README, START, lesson_files, repository, write_files
from shiftscope.workflows.train_models import run_models

ARCHIVE = ".zip"

IMAGES = 12_000
"""Photographs on which the models of the report in a class folder are trained and tested, at most."""

AUDITED = 500
"""Test images of the audit in that report."""


def pack_lessons(target: Path, *, solutions: bool = False, data_dir: Path | None = None,
                 progress: Progress) -> Path:
    """Write a folder or a zip archive for a class, which works without a network: lessons, images, and a report.

    The images are those of Fashion-MNIST if its files are on this machine. Otherwise the lessons and the report use
    synthetic garments, which need no files.

    Args:
        target: the new folder, or a new file with suffix .zip.
        solutions: include the solutions.
        data_dir: folder with the files of Fashion-MNIST, searched before the default ones.

    Raises:
        UsageError: if `target` exists.
        Interrupted: if a signal stopped the run; nothing is left.
    """
    if os.path.lexists(target):
        raise UsageError(f"--pack {target} exists already; choose a new name")
    archive = target.suffix.lower() == ARCHIVE
    images = _image_files(data_dir)
    with tempfile.TemporaryDirectory(prefix="shiftscope-") as temporary:
        report = _make_report(Path(temporary), images, progress)
        contents = {f"lessons/{name}": content for name, content in lesson_files(solutions=solutions).items()}
        contents |= {f"data/fashion-mnist/{path.name}": path.read_bytes() for path in images}
        contents |= {"report.html": report, README: _class_text(bool(images), solutions).encode()}
        if archive:
            _write_archive(target, contents)
        else:
            with files.new_folder(target) as part:
                write_files(part, contents)
    return target


def _image_files(data_dir: Path | None) -> list[Path]:
    """Return the four files of Fashion-MNIST on this machine, or an empty list."""
    found = next(entry["found"] for entry in dataset_catalog(data_dir) if entry["name"] == "fashion-mnist")
    return (FASHION_MNIST.found([Path(found)]) or []) if found else []


def _make_report(temporary: Path, images: list[Path], progress: Progress) -> bytes:
    """Train and audit the course models in a temporary folder, and return the report."""
    name, folder = ("fashion-mnist", images[0].parent) if images else ("garments", None)
    data = DataSettings(data=name, data_dir=folder, limit=IMAGES)
    settings = RunSettings(out=temporary / "run", audit_images=AUDITED)
    run_models(data, settings, progress=progress)
    return (settings.out / "report.html").read_bytes()


def _write_archive(target: Path, contents: dict[str, bytes]) -> None:
    """Write the files below one folder, so that unpacking creates a single one; images and weights are compressed."""
    with files.replacing(target) as handle, os.fdopen(os.dup(handle), "wb") as stream, \
            zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            packed.writestr(f"{target.stem}/{name}", content)


def _class_text(photographs: bool, solutions: bool) -> str:
    """Return the text that explains a class folder."""
    lines = ["Contents:", "", "- `report.html`: open it in a browser and drag a garment over the canvas. It needs no "
             "installation.", f"- `lessons`: one notebook per lesson{', and its solutions' if solutions else ''}. "
             f"Nothing is downloaded: {'the images are in `data`' if photographs else 'the images are synthetic'}."]
    if photographs:
        lines.append("- `data`: Fashion-MNIST by Zalando Research, MIT license.")
    return START.format(title="material for a class", first="lessons", contents="\n".join(lines),
                        repository=repository())
