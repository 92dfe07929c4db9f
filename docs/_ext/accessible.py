"""Attributes for assistive technology: levels of headings in the sidebar, keyboard focus for regions that scroll."""

import re
from typing import Any

from sphinx.application import Sphinx

SCROLLABLE = re.compile(r'<(pre|div class="(?:table-wrapper|math)[^"]*")(?=[ >])(?![^>]*tabindex)')
"""Elements that scroll if their content is too wide."""

LAST = 900
"""Priority after the theme, which creates the sidebar."""


def add_attributes(app: Sphinx, page: str, template: str, context: dict[str, Any], document: object) -> None:
    """Add `aria-level` to the captions of the sidebar and `tabindex` to scrollable elements of the page.

    >>> SCROLLABLE.sub(r'<\\1 tabindex="0"', '<pre><span></span>x</pre><preview>')
    '<pre tabindex="0"><span></span>x</pre><preview>'
    """
    for name in ("body", "furo_navigation_tree"):
        if name in context:
            text = SCROLLABLE.sub(r'<\1 tabindex="0"', context[name])
            context[name] = text.replace('role="heading">', 'role="heading" aria-level="2">')


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-page-context", add_attributes, priority=LAST)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
