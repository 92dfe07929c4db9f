"""EMNIST (Cohen, Afshar, Tapson & van Schaik 2017, arXiv 1702.05373): its six sets of characters, 28 x 28.

Its files store every image transposed (columns as rows), and the labels of the letters begin at 1.
"""

import re
import string
from pathlib import Path

import numpy as np

_ALL = string.digits + string.ascii_uppercase + string.ascii_lowercase
_MERGED = "".join(name for name in _ALL if name not in "cijklmopsuvwxyz")  # lower case that looks like upper case
CLASS_NAMES = {"byclass": _ALL, "bymerge": _MERGED, "balanced": _MERGED, "letters": string.ascii_lowercase,
               "digits": string.digits, "mnist": string.digits}
"""The names of the classes of each set, one character each."""

NOTE = "EMNIST stores its images transposed; they are read upright"

_NAME = re.compile(rf"emnist[-_]({'|'.join(CLASS_NAMES)})(?![a-z])", re.IGNORECASE)


def emnist_set(path: Path) -> str | None:
    """Return which set of EMNIST a file or the prefix of its files belongs to, None for other files.

    >>> emnist_set(Path("gzip/emnist-letters-train-images-idx3-ubyte.gz")), emnist_set(Path("t10k-images-idx3-ubyte"))
    ('letters', None)
    """
    found = _NAME.search(path.name)
    return found[1].lower() if found else None


def upright(kind: str, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, H, W) with their rows as rows, and labels from 0, of a set of EMNIST."""
    return images.transpose(0, 2, 1), labels.astype(np.int64) - (kind == "letters")
