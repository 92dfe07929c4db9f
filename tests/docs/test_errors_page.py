"""docs/errors.md: every headline is a message that the code can give, and what people meet with files stands there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "shiftscope"
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
HEADLINES = re.findall(r"^### `(.+)`$", PAGE, flags=re.M)
ABOUT_FILES = ("DataError", "CheckpointError", "OutputError", "TrainingError", "ThresholdError")
PLACES = ("data", "models", "runs", "training", "server", "notebook", "results/base.py", "files.py",
          "workflows/use_checkpoint.py", "workflows/audit_model.py")
"""Where files from users are read and written: what the rest raises is about its own records, or is made a note."""


def message(node: ast.AST) -> str | None:
    """A string of the source, with … where a value goes; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Everything in the source, with the file it stands in."""
    return [(path.relative_to(SOURCE).as_posix(), node) for path in sorted(SOURCE.rglob("*.py"))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def raised(kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(file, message) of every call that makes an error of these kinds."""
    for place, node in nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
            text = message(node.args[0])
            if text is not None:
                yield place, text


def pattern(headline: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in headline.strip("…").split("…")))


def test_every_error_has_a_label_of_its_own():
    labeled = re.findall(r"^\((error-[a-z0-9-]+)\)=\n### `", PAGE, flags=re.M)
    assert len(labeled) == len(set(labeled)) == len(HEADLINES) == len(set(HEADLINES)) > 100


def test_a_headline_is_a_message_of_the_source():
    texts = {text for _, node in nodes() if (text := message(node)) is not None and " " in text and "\n" not in text}
    texts |= {text.partition("\n")[0] for _, text in raised(("DataError", "UsageError")) if "\n" in text}  # then code
    gone = [headline for headline in HEADLINES if not any(map(pattern(headline).search, texts))]
    assert gone == [], "these messages are no longer in the source: repair docs/errors.md"


def test_what_goes_wrong_with_files_is_explained():
    known = [pattern(headline) for headline in HEADLINES if re.sub("[….:, ]", "", headline)]
    missing = [(place, text) for place, text in raised(ABOUT_FILES) if place.startswith(PLACES)
               and re.search("[a-z]{4}", text) and not any(found.search(text) for found in known)]
    assert missing == [], "explain these in docs/errors.md"
