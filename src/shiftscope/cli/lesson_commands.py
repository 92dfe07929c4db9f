"""`shiftscope lessons`."""

from pathlib import Path
from typing import Annotated

from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, OutputFlags, Switch
from shiftscope.errors import UsageError


def lessons(*, copy: Path | None = None, pack: Path | None = None, solutions: Annotated[bool, Switch] = False,
            data_dir: Path | None = None, output: OutputFlags = OUTPUT) -> None:
    """List the lessons, copy them as notebooks, or pack everything for a class.

    Args:
        copy: Write the lessons as notebooks into this folder. Existing files are not replaced.
        pack: Write a new folder, or a file with suffix .zip, that works offline: lessons, images and a report. This
            trains two models on at most 12,000 images, which takes minutes.
        solutions: Include the solutions of the exercises.
        data_dir: Folder with the files of Fashion-MNIST for --pack, searched before the default ones.
    """
    if copy is not None and pack is not None:
        raise UsageError("--copy and --pack cannot be combined; --pack includes a copy of the lessons")
    if solutions and copy is None and pack is None:
        raise UsageError("--solutions is an option of --copy and --pack; add one of them")
    if copy is not None:
        from shiftscope.workflows.copy_lessons import copy_lessons

        done = copy_lessons(copy, solutions=solutions)
        if output.json:
            shown.write_result(vars(done))
            return
        shown.write_path(done.path)
        for path in done.kept:
            shown.write_line(f"kept with your changes: {path}")
    elif pack is not None:
        from shiftscope.workflows.pack_lessons import pack_lessons

        with shown.clean_stdout(output.json):
            path = pack_lessons(pack, solutions=solutions, data_dir=data_dir, progress=output.progress())
        if output.json:
            shown.write_result({"path": path})
        else:
            shown.write_path(path)
    else:
        _show(output)


def _show(output: OutputFlags) -> None:
    from shiftscope.workflows.lessons import read_lessons, sources

    found = read_lessons(sources().lessons)
    if output.json:
        shown.write_result({"lessons": [{"name": one.name, "title": one.title, "time": one.time} for one in found]})
        return
    shown.write_table(("lesson", "time"), [(one.title, one.time) for one in found])
    shown.write_line("To write them as notebooks into a folder: shiftscope lessons --copy my-lessons")
