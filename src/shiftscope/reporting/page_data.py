"""Data for a page: arrays as compressed text, and JSON that may stand inside of a script element."""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from shiftscope.errors import UsageError
from shiftscope.files import plain
from shiftscope.geometry import Geometry

DTYPES = ("uint8", "uint16")
"""What `app.js` unpacks."""

_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def pack(array: np.ndarray) -> dict[str, Any]:
    """Return an array as plain JSON: its bytes in C order and little-endian, deflated (zlib) and in base64.

    Raises:
        UsageError: a type of numbers that the page does not read.

    Example:
        >>> packed = pack(np.zeros((2, 3), np.uint8))
        >>> packed["dtype"], packed["shape"], zlib.decompress(base64.b64decode(packed["data"]))
        ('uint8', [2, 3], b'\\x00\\x00\\x00\\x00\\x00\\x00')
    """
    if array.dtype.name not in DTYPES:
        raise UsageError(f"array must have a type of {' or '.join(DTYPES)} for a page, got {array.dtype.name}: convert "
                         "it first")
    data = zlib.compress(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes(), 9)
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}


def script_json(values: Mapping[str, Any]) -> str:
    """Return JSON that may stand in a script element: nothing in it ends the element or begins a comment.

    Example:
        >>> script_json({"name": "</script>"})
        '{"name":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(plain(dict(values)), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(_ESCAPES)


def geometry_payload(geometry: Geometry) -> dict[str, Any]:
    """Return what the page needs to draw an image on its canvas: mode, sizes, start and background.

    The background is null for a texture, which records do not keep.
    """
    return {"mode": geometry.mode, "image": list(geometry.image), "canvas": list(geometry.canvas),
            "start": list(geometry.start),
            "background": None if geometry.background == "texture" else geometry.background}
