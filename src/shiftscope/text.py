"""Text from outside, such as file names and class names, made safe to store and to print."""

import re

_NOT_PRINTABLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # control characters but the line feed: ESC begins a command to the terminal
    "\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # these move or turn the text that follows


def valid_unicode(text: str) -> str:
    r"""Return `text` so that it can be stored as UTF-8.

    Python keeps bytes of a file name that its locale's encoding lacks as surrogates (PEP 383): they become the letters
    that they are in UTF-8, whatever the locale, or escapes.

    >>> valid_unicode("caf\udce9"), valid_unicode("\udcc3\udca9")
    ('caf\\xe9', 'é')
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other surrogates, which no file name gives
        data = text.encode("utf-8", "backslashreplace")
    return data.decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    r"""Return `text` with escapes for all that a terminal would obey instead of showing it; a line feed is kept.

    >>> printable("\x1b[31mred\udcff")
    '\\x1b[31mred\\xff'
    """
    return _NOT_PRINTABLE.sub(lambda found: ascii(found[0])[1:-1], valid_unicode(text))
