"""Checks that the reference lists every public name, and resolves short names in docstrings to their entries.

Public names are those in `__all__` of the packages below. `shiftscope.NAME` must be listed under this name; an object
exported by several packages is listed once, under one of its names.
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
            "shiftscope.model_utils", "shiftscope.callbacks")
"""Packages with a documented `__all__`."""


def public_names() -> dict[str, set[str]]:
    """Return every public name with the names under which the reference can list it."""
    values = {f"{package}.{name}": getattr(import_module(package), name)
              for package in PACKAGES for name in import_module(package).__all__}
    homes: dict[int, set[str]] = {}
    for name, value in values.items():
        homes.setdefault(id(value), set()).add(name)
    # Equal numbers can be different constants, so only callables are identified by their id.
    return {name: homes[id(value)] if name.count(".") > 1 and callable(value) else {name}
            for name, value in values.items()}


def missing_names(listed: Iterable[str]) -> list[str]:
    """Return the public names that are missing in `listed`, the names in the reference."""
    listed = set(listed)
    return sorted(name for name, homes in public_names().items() if not homes & listed)


def check_reference(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn about every public name without an entry; warnings fail `make docs`."""
    for name in missing_names(entry[0] for entry in env.get_domain("py").get_objects()):
        logging.getLogger(__name__).warning("public name %s is not in docs/reference: add it", name)


def resolve_short_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> Any:
    """Resolve a short name such as `Placement` in a docstring to the only public object of that name."""
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
    """Connect the handlers."""
    app.connect("env-check-consistency", check_reference)
    app.connect("missing-reference", resolve_short_name)
    return {"parallel_read_safe": True}
