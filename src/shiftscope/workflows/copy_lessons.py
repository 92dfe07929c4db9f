"""`shiftscope lessons --copy`: the lessons as notebooks in a folder, without importing torch."""

import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from shiftscope import files
from shiftscope.errors import OutputError, UsageError
from shiftscope.runs.manifest import link_above
from shiftscope.workflows.lessons import SETTING, notebook_text, read_lessons, sources

README = "README.md"
NOTEBOOK = ".ipynb"

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


def repository() -> str:
    """Return the address of the repository, from the metadata of the package."""
    try:
        urls = metadata("shiftscope").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    return next((url.partition(", ")[2] for url in urls if url.startswith("Repository,")), "the page of the package")
