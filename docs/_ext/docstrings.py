"""Converts the docstrings of this package, plain text with `code` between backticks, to reStructuredText."""

from collections.abc import Iterable, Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def plain_prose(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Escape `*` and `|`; examples and blocks after a double colon are not changed."""
    lines[:] = [] if lines and lines[0].startswith("Alias for field number") else list(_escaped(lines))


def _escaped(lines: Iterable[str]) -> Iterator[str]:
    before = ""  # after "Returns:" comes prose: an empty type and a colon keep napoleon from parsing a type
    inside_code = example = False
    announced: int | None = None  # indentation of the line that introduced a code block
    for line in lines:
        indent = len(line) - len(line.lstrip())
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))
        if line.strip() and announced is not None and indent <= announced:
            announced = None
        if not line.strip() or example or announced is not None:
            inside_code = False
            yield line
            continue
        announced = indent if line.endswith("::") else None
        line, inside_code = _escape(line, inside_code)
        yield f"{line[:indent]}: {line[indent:]}" if before in ("Returns:", "Yields:") else line
        before = line.strip()


def _escape(line: str, inside_code: bool) -> tuple[str, bool]:
    kept = []
    for character, following in zip(line, f"{line[1:]} ", strict=True):
        inside_code ^= character == "`"
        kept.append(f"\\{character}" if character in "*|" and not inside_code else character)
        if character == "`" and not inside_code and following.isalnum():
            kept.append("\\ ")  # the plural of a name: `Objective`s
    return "".join(kept), inside_code


class Attributes:
    """Protects docstrings of attributes from napoleon, which parses text before a colon as a type."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def before(self, app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        self.kept = list(lines)

    def after(self, app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        if what in ("attribute", "data", "property"):
            lines[:] = self.kept


def join_with_dash(app: Sphinx, doctree: nodes.document) -> None:
    """Replace the two hyphens between an argument and its description with a dash."""
    for text in [text for text in doctree.findall(nodes.Text) if text == " -- "]:
        text.parent.replace(text, nodes.Text(" – "))


def strip_long_signature(app: Sphinx, what: str, name: str, value: Any, *_: Any) -> tuple[str, None] | None:
    """Omit the signature of records and settings, whose fields are documented one by one."""
    fields = getattr(value, "__dataclass_fields__", ()) if what == "class" else ()
    return ("", None) if len(fields) > 6 else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the handlers; napoleon has priority 500."""
    attributes = Attributes()
    app.connect("autodoc-process-docstring", plain_prose, priority=300)
    app.connect("autodoc-process-docstring", attributes.before, priority=400)
    app.connect("autodoc-process-docstring", attributes.after, priority=600)
    app.connect("autodoc-process-signature", strip_long_signature)
    app.connect("doctree-read", join_with_dash)
    return {"parallel_read_safe": True}
