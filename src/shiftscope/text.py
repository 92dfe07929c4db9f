"""Make untrusted text, such as file names and class names, safe to store and to print."""

import re

_NOT_PRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # control characters except line feed; ESC starts terminal commands
    "\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # these change the direction or lines of the following text


def valid_unicode(text: str) -> str:
    r"""Return `text` without surrogates, so that it can be stored as UTF-8.

    Python represents undecodable bytes of a file name as surrogates (PEP 383). They are decoded as UTF-8 or escaped.

    >>> valid_unicode("caf\udce9"), valid_unicode("\udcc3\udca9")
    ('caf\\xe9', 'é')
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that do not come from file names
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    r"""Escape all characters that control a terminal, except line feeds.

    >>> printable("\x1b[31mred\udcff")
    '\\x1b[31mred\\xff'
    """
    return _NOT_PRINTABLE.sub(lambda found: ascii(found[0])[1:-1], valid_unicode(text))
