"""Generated parts of Markdown pages, between two HTML comments."""

import re

from shiftscope.errors import UsageError


def markers(name: str) -> tuple[str, str]:
    """Return the comments before and after a part.

    >>> markers("table")
    ('<!-- table: generated from records, do not edit -->', '<!-- table: end -->')
    """
    return f"<!-- {name}: generated from records, do not edit -->", f"<!-- {name}: end -->"


def replace_between_markers(page: str, name: str, text: str, where: str = "the page") -> str:
    """Return the page with `text` between its markers called `name`.

    Args:
        page: the text of the page.
        where: its name, for errors.

    Raises:
        UsageError: unless both markers occur once, in this order.

    Example:
        >>> begin, end = markers("x")
        >>> replace_between_markers(f"a {begin} old {end} b", "x", "new").splitlines()[1]
        'new'
    """
    begin, end = markers(name)
    parts = re.split(f"({re.escape(begin)}|{re.escape(end)})", page)
    if parts[1::2] != [begin, end]:
        raise UsageError(f"{where} must contain the markers {begin!r} and {end!r} once, in this order; insert them "
                         f"where the part {name} belongs")
    return f"{parts[0]}{begin}\n{text}\n{end}{parts[4]}"
