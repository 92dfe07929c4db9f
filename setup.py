"""Adds the lessons and the trained models that they load to built packages; pyproject.toml holds everything else."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithLessons(build_py):
    """Copies the lessons and checkpoints of the repository into the package `shiftscope`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # then they are read from the repository
            return
        target = Path(self.build_lib) / "shiftscope" / "lessons"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in Path("docs/lessons").glob("*.py"):
            shutil.copy(path, target)
        shutil.copytree("examples/checkpoints", target / "checkpoints")


setup(cmdclass={"build_py": BuildWithLessons})
