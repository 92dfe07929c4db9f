"""The files that become part of a page, as text: the ES module, the styles, the templates."""

import base64
import hashlib
import importlib.resources

from shiftscope.errors import unknown

ASSETS = ("app.js", "explorer.css", "style.css", "template.html")
"""`app.js` with `explorer.css` serves the report, the notebook's widget and the live page alike."""


def asset(name: str) -> str:
    """Return the text of one of `ASSETS`.

    Raises:
        UsageError: no such file.

    Example:
        >>> "export function mountExplorer" in asset("app.js")
        True
    """
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    return (importlib.resources.files("shiftscope.reporting") / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """Return how a Content-Security-Policy names an inlined style or script.

    References:
        W3C, "Content Security Policy Level 3", section 2.3.1, hash-source.

    Example:
        >>> digest("")
        'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
