"""Building blocks of HTML pages: assets, content security digests, packed arrays, and JSON for script elements."""

import base64
import hashlib
import importlib.resources
import json
import zlib
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from shiftscope.errors import UsageError, unknown
from shiftscope.files import plain
from shiftscope.geometry import Geometry

ASSETS = ("app.js", "drawing.js", "explorer.css", "explorer.html", "report.js", "style.css", "template.html",
          "widget.js")
"""`app.js` and `explorer.css` are shared by the report, the notebook widget and the live page; `drawing.js` is part of
`app.js`, and `report.js` or `widget.js` is appended to it."""

DTYPES = ("uint8", "uint16")
"""Data types that `app.js` unpacks."""

_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def asset(name: str) -> str:
    """Return the text of one of `ASSETS`; that of `app.js` begins with `drawing.js`.

    >>> "export function mountExplorer" in asset("app.js")
    True
    """
    if name not in ASSETS:
        raise unknown("asset", name, ASSETS)
    folder = importlib.resources.files("shiftscope.reporting")
    parts = ("drawing.js", name) if name == "app.js" else (name,)
    return "".join((folder / part).read_text(encoding="utf-8") for part in parts)


def digest(text: str) -> str:
    """Return the hash of an inline style or script for a Content-Security-Policy (CSP Level 3, section 2.3.1).

    >>> digest("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def render_page(template: str, *, style: str, **values: Any) -> str:
    """Render a template with `app.js` as its script, and with the digests of script and style."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    code = {"style": style, "script": asset("app.js") + asset("report.js")}
    return environment.from_string(asset(template)).render(
        digests={name: digest(text) for name, text in code.items()}, **values,
        **{name: Markup(text) for name, text in code.items()})


def pack(array: np.ndarray) -> dict[str, Any]:
    """Return an array as plain JSON: bytes in C order, little-endian, compressed with zlib, in base64.

    >>> packed = pack(np.zeros((2, 3), np.uint8))
    >>> packed["dtype"], packed["shape"], zlib.decompress(base64.b64decode(packed["data"]))
    ('uint8', [2, 3], b'\\x00\\x00\\x00\\x00\\x00\\x00')
    """
    if array.dtype.name not in DTYPES:
        raise UsageError(f"array must have dtype {' or '.join(DTYPES)}, got {array.dtype.name}: convert it first")
    data = zlib.compress(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), 9)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}


def script_json(values: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a script element: nothing in it ends the element or begins a comment.

    >>> script_json({"name": "</script>"})
    '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(plain(dict(values)), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(_ESCAPES)


def geometry_payload(geometry: Geometry) -> dict[str, Any]:
    """Return mode, sizes, start, fill and background of placements; the background is None for a texture."""
    return {"mode": geometry.mode, "image": list(geometry.image), "canvas": list(geometry.canvas),
            "start": list(geometry.start),
            "fill": geometry.fill,
            "background": None if geometry.background == "texture" else geometry.background}
