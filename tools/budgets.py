"""Fail where files or functions under src/ have grown past the project's budgets.

A function's body is counted from its first statement after the docstring to its last line, both included; functions
inside it count too. Run as `python tools/budgets.py [FOLDER]`, from the root of the repository.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = {".py": 400, ".js": 1200}
"""Most lines of a file, by its ending."""

BODY_LINES = 40
"""Most lines of a function's body."""

BODY_P90 = 25
"""Nine of ten bodies have at most so many lines."""

BODY_MEDIAN = 8
"""Half of the bodies have at most so many lines."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def body_lines(function: Function) -> int:
    """Return the number of lines of a function's body, without its docstring."""
    skip = 1 if ast.get_docstring(function, clean=False) is not None else 0
    body = function.body[skip:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the place (file:line name) and the body's lines of every function in a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield f"{path}:{node.lineno} {node.name}", body_lines(node)


def file_complaints(paths: list[Path]) -> Iterator[str]:
    """Yield one sentence for every file that is too long."""
    for path in paths:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        most = FILE_LINES[path.suffix]
        if lines > most:
            yield f"{path}: {lines} lines, at most {most} are allowed; split it by concept"


def body_complaints(sizes: dict[str, int]) -> Iterator[str]:
    """Yield one sentence for every body that is too long, and for a distribution that has crept up."""
    for place, lines in sizes.items():
        if lines > BODY_LINES:
            yield f"{place}: a body of {lines} lines, at most {BODY_LINES} are allowed; give its steps names"
    for name, value, most in (("90th percentile", percentile(sizes, 0.9), BODY_P90),
                              ("median", percentile(sizes, 0.5), BODY_MEDIAN)):
        if value > most:
            yield f"the {name} of all bodies is {value} lines, at most {most} are allowed"


def percentile(sizes: dict[str, int], share: float) -> int:
    """Return the smallest size that at least `share` of the bodies do not exceed; 0 where there are none."""
    ordered = sorted(sizes.values())
    return next((size for rank, size in enumerate(ordered, 1) if rank >= share * len(ordered)), 0)


def main(folder: str = "src") -> int:
    """Print what is over budget, else one line of figures; return the exit code."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in FILE_LINES)
    sizes = dict(entry for path in paths if path.suffix == ".py" for entry in functions(path))
    complaints = [*file_complaints(paths), *body_complaints(sizes)]
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print(f"Budgets kept: {len(paths)} files, {len(sizes)} functions, bodies of {percentile(sizes, 0.5)} lines "
              f"(median), {percentile(sizes, 0.9)} (90th percentile), {max(sizes.values(), default=0)} (most)")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
