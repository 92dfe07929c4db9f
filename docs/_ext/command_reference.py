"""The directive `command-reference`: all commands and options, generated from the application.

A cyclopts help formatter collects the output of `shiftscope COMMAND --help` and converts it to a page.
"""

import io
from collections.abc import Iterator
from typing import Any

from cyclopts import App
from docutils import nodes
from docutils.statemachine import StringList
from rich.console import Console
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from shiftscope.cli.app import COMMANDS, Command, build_app


class HelpPage:
    """Help formatter that collects the parts of a help page; cyclopts calls its methods."""

    def __init__(self, app: App, words: tuple[str, ...]):
        self.usage = self.description = ""
        self.panels: list[Any] = []
        app.help_formatter = self
        app.help_print(list(words), console=Console(file=io.StringIO()))

    def render_usage(self, console: Console, options: Any, usage: Any) -> None:
        self.usage = as_text(usage).removeprefix("Usage: ")

    def render_description(self, console: Console, options: Any, description: Any) -> None:
        self.description = as_text(description)

    def __call__(self, console: Console, options: Any, panel: Any) -> None:
        if panel.format == "parameter" and panel.entries:  # the other panel lists --help and --version
            self.panels.append(panel)


def as_text(renderable: Any) -> str:
    """Return the output of cyclopts without colors and line breaks."""
    stream = io.StringIO()
    Console(file=stream, width=10_000, no_color=True, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip().splitlines())


def escape(text: str) -> str:
    """Convert plain text to reStructuredText; text between backticks stays code."""
    parts = text.split("`")
    return "`".join("".join(f"\\{c}" if c in "*|_\\" else c for c in part) if not number % 2 else part
                    for number, part in enumerate(parts))


def page_lines(command: Command, page: HelpPage) -> Iterator[str]:
    """Yield the reStructuredText of one command."""
    yield from (escape(page.description), "", f"``{page.usage}``", "")
    yield from (".. code-block:: text", "", *(f"   shiftscope {line}" for line in command.examples), "")
    yield from (f".. program:: shiftscope {' '.join(command.words)}", "")
    for panel in page.panels:
        yield from (f".. rubric:: {as_text(panel.title)}", "")
        for entry in panel.entries:
            yield from (f".. option:: {', '.join(entry.display_labels_with_metavar)}", "")
            yield from (f"   {escape(' '.join(as_text(entry.description).split()))}{_values(entry)}", "")


def _values(entry: Any) -> str:
    """Choices and default of an option."""
    choices = f" Choices: {', '.join(f'``{choice}``' for choice in entry.choices)}." if entry.choices else ""
    default = f" Default: ``{entry.default}``." if entry.default else ""
    return choices + default + (" Required." if entry.required and not entry.positional_label else "")


class CommandReference(SphinxDirective):
    """Creates one section per command."""

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # the commands may have changed although this page has not
        return [self._section(command) for command in COMMANDS]

    def _section(self, command: Command) -> nodes.section:
        title = " ".join(("shiftscope", *command.words))
        section = nodes.section("", nodes.title("", title), ids=["-".join(command.words)], names=[title])
        self.state.document.note_explicit_target(section, section)
        lines = list(page_lines(command, HelpPage(build_app(), command.words)))
        self.state.nested_parse(StringList(lines, source="shiftscope --help"), 0, section)
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive; every build reads its page again."""
    app.add_directive("command-reference", CommandReference)
    return {"parallel_read_safe": True}
