"""Holds the reference to its promise, every public name, and leads short names in docstrings to their page.

Public are the names in `__all__` of the packages below. `shiftscope.NAME` stands on a page under this very name; what
several packages offer stands there once, under one of its names.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

PACKAGES = ("shiftscope", "shiftscope.data", "shiftscope.models", "shiftscope.models.repair", "shiftscope.layers",
            "shiftscope.evaluation", "shiftscope.auditing", "shiftscope.visualization", "shiftscope.results",
            "shiftscope.reporting", "shiftscope.training", "shiftscope.runs", "shiftscope.dense", "shiftscope.graph",
            "shiftscope.model_utils")
"""Packages whose `__all__` is documented."""


def public_names() -> dict[str, set[str]]:
    """Return every public name with the names under which the reference may list it."""
    values = {f"{package}.{name}": getattr(import_module(package), name)
              for package in PACKAGES for name in import_module(package).__all__}
    homes: dict[int, set[str]] = {}
    for name, value in values.items():
        homes.setdefault(id(value), set()).add(name)
    return {name: homes[id(value)] if name.count(".") > 1 and callable(value) else {name}  # equal numbers are not one
            for name, value in values.items()}


def missing_names(listed: Iterable[str]) -> list[str]:
    """Return the public names that are not among those `listed` in the reference."""
    listed = set(listed)
    return sorted(name for name, homes in public_names().items() if not homes & listed)


def check_reference(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn about every public name without an entry, which fails `make docs`."""
    for name in missing_names(entry[0] for entry in env.get_domain("py").get_objects()):
        logging.getLogger(__name__).warning("the reference lacks the public name %s: add it to docs/reference", name)


def resolve_short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> Any:
    """Lead `Placement`, written in the docstring of any module, to the one public thing of that name."""
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].removeprefix("shiftscope.").rpartition(".")[2]
    found = [entry for entry in env.get_domain("py").get_objects()
             if entry[0].rpartition(".")[2] == name and entry[2] in ("class", "function", "data", "exception")]
    if len(found) != 1:
        return None
    full, _, _, docname, anchor, _ = found[0]
    target = f"{app.builder.get_relative_uri(node['refdoc'], docname)}#{anchor}"
    return nodes.reference("", "", content, internal=True, reftitle=full, refuri=target)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect both."""
    app.connect("env-check-consistency", check_reference)
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True}
