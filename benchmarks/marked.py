"""A part of a page that is made from records, between two comments that readers do not see."""

import re

from shiftscope.errors import UsageError


def marks(name: str) -> tuple[str, str]:
    """Return the comments before and after the part.

    >>> marks("table")
    ('<!-- table: generated from records, do not edit -->', '<!-- table: end -->')
    """
    return f"<!-- {name}: generated from records, do not edit -->", f"<!-- {name}: end -->"


def replace_marked(page: str, name: str, text: str, where: str = "the page") -> str:
    """Return the page with `text` between its marks called `name`.

    Args:
        page: the whole page.
        where: its name, for errors.

    Raises:
        UsageError: the marks are not there exactly once, in their order.

    Example:
        >>> begin, end = marks("x")
        >>> replace_marked(f"a {begin} old {end} b", "x", "new").splitlines()[1]
        'new'
    """
    begin, end = marks(name)
    parts = re.split(f"({re.escape(begin)}|{re.escape(end)})", page)
    if parts[1::2] != [begin, end]:
        raise UsageError(f"{where} must hold the marks {begin!r} and {end!r} once, in this order: put them where the "
                         f"part called {name} belongs")
    return f"{parts[0]}{begin}\n{text}\n{end}{parts[4]}"
