"""The explorer as a page of its own, small enough for the output of a notebook's cell."""

from collections.abc import Sequence
from html import escape

from shiftscope.reporting.assets import asset, digest
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.page_data import script_json
from shiftscope.results import Audit

_STYLE = """
html { color-scheme: light dark; }
body { margin: 0; padding: 4px; background: light-dark(#ffffff, #14181d); }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_digest}'; \
style-src '{style_digest}'; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main data-view="explorer"></main>
<script type="application/json" data-of="explorer">{payload}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def render_explorer(audits: Sequence[Audit], *, title: str) -> str:
    """Return a page with nothing but the explorer of audits, which needs no network and no other file.

    Its Content-Security-Policy allows its own script and style, and no request.

    Args:
        audits: see `explorer_payload`.
        title: of the page.
    """
    style, script = asset("explorer.css") + _STYLE, f"{asset('app.js')}\nstartPage(document);\n"
    return _PAGE.format(script_digest=digest(script), style_digest=digest(style), title=escape(title), style=style,
                        payload=script_json(explorer_payload(audits)), script=script)
