"""Fixtures that all tests share."""

import os
from pathlib import Path

import numpy as np
import pytest

BESIDE = Path(__file__).parents[2] / "shared"
"""Where the folders of the real images may be, beside the repository."""

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

LONG = ("test_kill.py", "test_lost_process.py", "test_commands.py", "test_in_step.py", "test_live_page.py",
        "test_jupyterlab.py", "test_report_browser.py")
"""Files that take longest: they start first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of long files first."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave alone the scripts that tests start: collecting doctests would import, and so run, them."""
    is_script = collection_path.suffix == ".py" and not collection_path.name.startswith(("test_", "conftest"))
    return True if is_script and Path(__file__).parent in collection_path.parents else None


@pytest.fixture(autouse=True)
def engines_of_short_audits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `auto` choose among all engines, although the audits of tests are so short that it would use brute force."""
    monkeypatch.setattr("shiftscope.auditing.engines.SHORT", 0.0)


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in FILES)


def _real_files(name: str) -> Path:
    """Return the folder of a dataset's files; a test that needs it is skipped where there is none."""
    named = os.environ.get("SHIFTSCOPE_DATA_DIR")
    folder = Path(named) if named else BESIDE / name
    folder = next((one for one in (folder / name, folder.parent / name) if one.is_dir()), folder)
    if not _complete(folder):
        pytest.skip(f"needs the real files of {name}, which are not in {folder}: name their folder in "
                    "SHIFTSCOPE_DATA_DIR")
    return folder.resolve()


@pytest.fixture(scope="session")
def fashion_mnist_dir() -> Path:
    """Folder with the four real files of Fashion-MNIST; a test that asks for it is skipped where there is none."""
    return _real_files("fashion-mnist")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the four real files of MNIST, in a folder called mnist; likewise."""
    folder = _real_files("mnist")
    return folder if folder.name == "mnist" else pytest.skip(f"{folder} may hold other files of the same names")


@pytest.fixture(scope="session")
def npz(tmp_path_factory) -> Path:
    """200 + 60 images of 12 x 12 in three classes: a bright bar at the top, in the middle, at the bottom."""
    draw = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 200), ("test", 60)):
        labels = np.arange(count) % 3
        images = draw.integers(0, 60, (count, 12, 12), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[1 + 4 * label:3 + 4 * label] = 240
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, **arrays, class_names=np.array(["top", "middle", "bottom"]))
    return path
