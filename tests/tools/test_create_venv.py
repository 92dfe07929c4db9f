"""Where Python, venv or pip is missing, the user learns which package to install."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "create_venv.sh"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="make and its shell script are for POSIX systems")


def create(python: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(SCRIPT), str(python), str(folder)], capture_output=True, text=True, check=False)


@pytest.fixture
def fake_python(tmp_path):
    """Make a stand-in for Python that fails where its `-c` code holds a word, and else does as this Python does."""
    def make(word: str) -> Path:
        path = tmp_path / "fake python"
        path.write_text(f'#!/bin/sh\ncase "$2" in *"{word}"*) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
        path.chmod(0o755)
        return path
    return make


def test_no_python(tmp_path):
    result = create("no-such-python", tmp_path / "venv")
    assert result.returncode == 1
    assert "'no-such-python' does not run" in result.stderr
    assert "apt install python3 python3-venv python3-pip" in result.stderr


def test_old_python(tmp_path, fake_python):
    result = create(fake_python("version_info"), tmp_path / "venv")
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed" in result.stderr
    assert "{}.{}.{}".format(*sys.version_info[:3]) in result.stderr
    assert "make PYTHON=python3.12" in result.stderr


def test_no_venv(tmp_path, fake_python):
    result = create(fake_python("ensurepip"), tmp_path / "venv")
    assert result.returncode == 1
    assert "lacks the modules venv and pip" in result.stderr
    assert "apt install python3-venv python3-pip" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_a_broken_environment_is_created_again_and_a_good_one_kept(tmp_path):
    folder = tmp_path / "a space" / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("nowhere")
    assert create(sys.executable, folder).returncode == 0
    subprocess.run([folder / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)
    (folder / "mine").touch()
    assert create("no-such-python", folder).returncode == 0
    assert (folder / "mine").exists()
