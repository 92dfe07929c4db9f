"""Text from outside, such as file names and class names, made safe to store and to print."""

import re

_NOT_UNICODE = re.compile("[\ud800-\udfff]")
_NOT_PRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # control characters but the line feed: ESC begins a command to the terminal
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the direction of the text that follows
    "\u2028\u2029\ud800-\udfff]")


def valid_unicode(text: str) -> str:
    r"""Return `text` with escapes for bytes of a file name that are not UTF-8, so that it can be stored as UTF-8.

    >>> valid_unicode("caf\udce9")
    'caf\\xe9'
    """
    return _NOT_UNICODE.sub(_escaped, text)


def printable(text: str) -> str:
    r"""Return `text` with escapes for all that a terminal would obey instead of showing it; a line feed is kept.

    >>> printable("\x1b[31mred\udcff")
    '\\x1b[31mred\\xff'
    """
    return _NOT_PRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps the byte of a name that is not UTF-8 (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
