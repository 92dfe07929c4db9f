"""JUnit files, which continuous integration services show: one test case per requirement on an audit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from shiftscope import files
from shiftscope.results import Audit
from shiftscope.results.checks import METRICS, Check
from shiftscope.text import printable

_TITLE = "shiftscope audit"


def junit_document(audit: Audit, checks: Sequence[Check]) -> str:
    """Return a JUnit file with one test case per check; without checks, one case that states the metrics.

    Example:
        >>> check = Check(metric="worst", value=0.42, required="at least 0.5", passed=False)
        >>> "worst 0.4200, required at least 0.5" in check.sentence
        True
    """
    failed = [check for check in checks if not check.passed]
    counts: Any = {"tests": str(max(1, len(checks))), "failures": str(len(failed)), "errors": "0"}
    suites = ElementTree.Element("testsuites", name=_TITLE, time=f"{audit.seconds:.3f}", **counts)
    suite = ElementTree.SubElement(suites, "testsuite", name=f"shiftscope audit {_xml(audit.model)}",
                                   time=f"{audit.seconds:.3f}", **counts)
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(audit).items():
        ElementTree.SubElement(properties, "property", name=name, value=_xml(str(value)))
    group = f"shiftscope.{_xml(audit.model)}"
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname=group, name=f"{check.metric}: {check.required}",
                                      time="0")
        if not check.passed:
            ElementTree.SubElement(case, "failure", message=check.sentence, type="shiftscope").text = check.sentence
    if not checks:
        ElementTree.SubElement(suite, "testcase", classname=group, name="audit", time=f"{audit.seconds:.3f}")
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def is_junit_file(path: Path) -> bool:
    """Return True if a file begins as one of `junit_document`."""
    try:
        with files.open_regular(path, files.memory()) as stream:
            return f'<testsuites name="{_TITLE}"'.encode() in stream.read(200)
    except OSError:
        return False


def _properties(audit: Audit) -> Mapping[str, object]:
    """Return the properties of a suite: images, placements and engine, and all metrics."""
    names = ("dataset", "split", "images", "placements", "mode", "sampled", "engine", "reason")
    return {name: getattr(audit, name) for name in names} | {
        name: f"{getattr(audit, field):.6f}" for name, field in METRICS.items()}


def _xml(text: str) -> str:
    r"""Return a text without characters that XML 1.0 forbids.

    >>> _xml("a\x00\uffff")
    'a\\x00?'
    """
    return printable(text).translate({0xFFFE: "?", 0xFFFF: "?"})
