"""docs/errors.md: every heading is a message of the source, and all messages about user files are explained."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "shiftscope"
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### `(.+)`$", PAGE, flags=re.M)
ABOUT_FILES = ("DataError", "CheckpointError", "OutputError", "TrainingError", "ThresholdError")
PATHS = ("data", "models", "runs", "training", "server", "notebook", "results/base.py", "files.py",
          "workflows/use_checkpoint.py", "workflows/audit_model.py")
"""Code that reads and writes user files; other errors are about internal records, or become notes."""


def message(node: ast.AST) -> str | None:
    """Return a string of the source, with … for inserted values; None for other nodes."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Return all nodes of the source with their files."""
    return [(path.relative_to(SOURCE).as_posix(), node) for path in sorted(SOURCE.rglob("*.py"))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def raised(kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield (file, message) of every call that creates an error of these kinds."""
    for path, node in nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
            text = message(node.args[0])
            if text is not None:
                yield path, text


def pattern(heading: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in heading.strip("…").split("…")))


def test_every_error_has_a_unique_label():
    labeled = re.findall(r"^\((error-[a-z0-9-]+)\)=\n### `", PAGE, flags=re.M)
    assert len(labeled) == len(set(labeled)) == len(HEADINGS) == len(set(HEADINGS)) > 100


def test_every_heading_is_a_message_of_the_source():
    texts = {text for _, node in nodes() if (text := message(node)) is not None and " " in text and "\n" not in text}
    texts |= {text.partition("\n")[0] for _, text in raised(("DataError", "UsageError")) if "\n" in text}  # then code
    outdated = [heading for heading in HEADINGS if not any(map(pattern(heading).search, texts))]
    assert outdated == [], "these messages are not in the source: update docs/errors.md"


def test_errors_about_user_files_are_explained():
    known = [pattern(heading) for heading in HEADINGS if re.sub("[….:, ]", "", heading)]
    missing = [(path, text) for path, text in raised(ABOUT_FILES) if path.startswith(PATHS)
               and re.search("[a-z]{4}", text) and not any(one.search(text) for one in known)]
    assert missing == [], "explain these in docs/errors.md"
