"""`shiftscope lessons --copy` and `--pack`: notebooks in a folder; lessons, images and a report for a class."""

import os
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from shiftscope import files
from shiftscope.data import dataset_catalog
from shiftscope.data.fashion_mnist import GZIPPED_SHA256, find
from shiftscope.errors import OutputError, UsageError
from shiftscope.progress import Progress
from shiftscope.runs.manifest import link_above
from shiftscope.settings import DataSettings, RunSettings
from shiftscope.workflows.lessons import SETTING, notebook_text, read_lessons, sources

README = "README.md"
NOTEBOOK, ARCHIVE = ".ipynb", ".zip"

IMAGES = 12_000
"""Photographs on which the models of the report in a class folder are trained and tested, at most."""

AUDITED = 500
"""Test images of the audit in that report."""

START = """\
# Shiftscope: {title}

Install the software once. Only this step needs network access:

    pip install "shiftscope[notebook]"

Start JupyterLab in this folder and open a lesson:

    jupyter lab {first}

Run the cells from top to bottom with Shift-Enter. Code that only draws is folded; click it to open it.

{contents}

Software and documentation: {repository}
"""

IMAGES_OF_COPY = """\
The lessons use Fashion-MNIST if its files are on this machine (`shiftscope data fetch fashion-mnist`), and otherwise
synthetic garments, for which the accuracies are different."""


@dataclass(frozen=True)
class Copied:
    """A folder with a copy of the lessons, its notebooks, and those of them that were there and have been changed."""

    path: Path
    notebooks: list[Path]
    kept: list[Path]


def copy_lessons(folder: Path, *, solutions: bool = False) -> Copied:
    """Write the lessons as notebooks, the module that they share, and two trained models into a folder.

    No file is replaced: notebooks that are there are kept, with the results and changes of the user.

    Args:
        folder: a new or empty folder, or one with a copy of the lessons.
        solutions: write the solutions of the exercises as well.

    Raises:
        UsageError: if `folder` is a file or contains other files only, or a module or model with different content.
        OutputError: if the folder cannot be written.
    """
    contents = lesson_files(solutions=solutions)
    missing = _missing(folder, contents)
    if folder.exists():
        for name in missing:
            files.write_bytes(folder / name, contents[name])
    else:
        with files.new_folder(folder) as part:
            write_files(part, contents)
    notebooks = [folder / name for name in contents if name.endswith(NOTEBOOK)]
    return Copied(folder, notebooks, [path for path in notebooks if path.read_bytes() != contents[path.name]])


def lesson_files(*, solutions: bool = False) -> dict[str, bytes]:
    """Return the files of a copy of the lessons, by their path in the folder."""
    where = sources()
    lessons = read_lessons(where.lessons, solutions=solutions)
    names = {lesson.name for lesson in read_lessons(where.lessons, solutions=True)}
    contents = {lesson.name + NOTEBOOK: notebook_text(lesson, names).encode() for lesson in lessons}
    contents[SETTING] = (where.lessons / SETTING).read_bytes()
    for path in sorted(where.checkpoints.glob("*/*")):
        contents[f"checkpoints/{path.parent.name}/{path.name}"] = path.read_bytes()
    contents[README] = START.format(title="lessons", first=lessons[0].name + NOTEBOOK, contents=IMAGES_OF_COPY,
                                    repository=repository()).encode()
    return contents


def _missing(folder: Path, contents: dict[str, bytes]) -> list[str]:
    """Return the names of the files that are not in `folder` yet; raise a `UsageError` if it holds files of others."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"--copy {folder} is a file; choose a folder")
    try:
        present = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(f"cannot read {folder}: {files.reason(error)}; choose another folder") from error
    if present and not present & {name.partition("/")[0] for name in contents if name != README}:
        raise UsageError(f"--copy {folder} is not empty and contains no lessons; choose a new or empty folder")
    for name, content in contents.items():
        _check_same(folder, name, content)
    return [name for name in contents if not (folder / name).exists()]


def _check_same(folder: Path, name: str, content: bytes) -> None:
    """Raise a `UsageError` if a file exists and is not ours; notebooks and the README may have been changed."""
    path, link = folder / name, link_above(folder, name)
    if link is None and not os.path.lexists(path):
        return
    if link is None and files.is_plain(path) and (path.suffix in (NOTEBOOK, ".md") or path.read_bytes() == content):
        return
    raise UsageError(f"{link or path} exists already and is not from this version of the lessons, so nothing was "
                     "copied; move it away, or choose another folder")


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files by their relative path into a new folder."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


# ---------------------------------------------------------------------- a folder for a class


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
    return [path for name in GZIPPED_SHA256 if found and (path := find(name, [Path(found)]))]


def _make_report(temporary: Path, images: list[Path], progress: Progress) -> bytes:
    """Train and audit the course models in a temporary folder, and return the report."""
    from shiftscope.workflows.train_models import run_models

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


def repository() -> str:
    """Return the address of the repository, from the metadata of the package."""
    try:
        urls = metadata("shiftscope").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    return next((url.partition(", ")[2] for url in urls if url.startswith("Repository,")), "the page of the package")
