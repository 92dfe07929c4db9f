"""The table of commands, and the application that parses and calls them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cyclopts import App, Parameter

from shiftscope.cli.audit_command import audit
from shiftscope.cli.checkpoint_commands import evaluate, export, predict
from shiftscope.cli.data_commands import fetch, pack, show_info, show_list
from shiftscope.cli.flags import ONE_PROCESS, show_default
from shiftscope.cli.info_commands import doctor, protocols, show_models
from shiftscope.cli.lesson_commands import lessons
from shiftscope.cli.output import console
from shiftscope.cli.processes import LAUNCHED, must_start_processes
from shiftscope.cli.repair_command import repair
from shiftscope.cli.report_commands import compare, report, watch
from shiftscope.cli.sources import RENAMED, TomlFile, Variables
from shiftscope.cli.train_commands import run, train
from shiftscope.cli.visualize_command import visualize
from shiftscope.errors import UsageError


@dataclass(frozen=True)
class Command:
    """A command: its words, its function (whose docstring is the help text), and examples."""

    words: tuple[str, ...]
    function: Callable[..., None]
    examples: tuple[str, ...]


COMMANDS = (
    Command(("run",), run, ("run", "run --data fashion-mnist --out results")),
    Command(("watch",), watch, ("watch shiftscope-run", "watch shiftscope-run --open")),
    Command(("train",), train, ("train two-conv --data fashion-mnist --epochs 5",)),
    Command(("evaluate",), evaluate, ("evaluate shiftscope-train/two-conv --out figures",)),
    Command(("audit",), audit, ("audit shiftscope-train/two-conv --out figures",
                                "audit my_models:Net --data folder:pictures --fail-under mean=0.9,worst=0.8")),
    Command(("repair",), repair, ("repair shiftscope-train/two-conv --method recenter",
                                "repair shiftscope-train/two-conv --method polyphase --finetune 3")),
    Command(("predict",), predict, ("predict shiftscope-train/two-conv shirt.png --offset 0 14",)),
    Command(("visualize",), visualize, ("visualize shiftscope-train/two-full", "visualize ckpt class:Bag conv2:0-9")),
    Command(("report",), report, ("report shiftscope-run", "report run-a run-b --out both.html")),
    Command(("compare",), compare, ("compare run-a run-b --out disagreements",
                                    "compare run-a run-a --models two-full two-conv")),
    Command(("export",), export, ("export shiftscope-train/two-conv --onnx net.onnx",)),
    Command(("models", "list"), show_models, ("models list",)),
    Command(("protocols",), protocols, ("protocols",)),
    Command(("data", "list"), show_list, ("data list",)),
    Command(("data", "info"), show_info, ("data info garments",)),
    Command(("data", "fetch"), fetch, ("data fetch fashion-mnist",)),
    Command(("data", "pack"), pack, ("data pack folder:pictures", "data pack fashion-mnist --out fashion.pack")),
    Command(("lessons",), lessons, ("lessons --copy my-lessons", "lessons --pack class.zip --solutions")),
    Command(("doctor",), doctor, ("doctor",)),
)
"""All commands, in the order of the help page."""

GROUPS = {"models": "List the models that can be trained by name.",
          "data": "List or show datasets, download one, or pack one into a folder."}
"""Help texts of groups of commands."""

RENAMED_COMMANDS = {"mend": "repair"}
"""Old names of commands, for the error message."""

EPILOGUE = """\
Help on one command: shiftscope run --help

Options can also be set in the file shiftscope.toml of the current folder, with one table per command ([run], \
[train], [data.info]) and the table [shared] for all commands that have the option, or in an environment variable \
(--data-dir: SHIFTSCOPE_DATA_DIR). The command line takes precedence over the variable, the variable over the file. \
Names of code are accepted on the command line only, and the file cannot set what is written or replaced (--out, \
--overwrite, --resume)."""


def _version() -> str:
    import shiftscope

    return f"shiftscope {shiftscope.__version__}"


def _epilogue(examples: Sequence[str]) -> str:
    return "\n".join([f"Example{'s' if len(examples) > 1 else ''}:", *(f"  shiftscope {line}" for line in examples)])


def build_app() -> App:
    """Return the application with all its commands."""
    app = App(
        name="shiftscope", help="Measure, explain and repair the position dependence of image classifiers.",
        version=_version, help_format="plaintext", help_epilogue=EPILOGUE, suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative_iterable=(), show_default=show_default), console=console(),
    )
    app.config = (Variables(lambda: set(_option_names(app))),
                  TomlFile("shiftscope.toml", [c.words for c in COMMANDS], lambda: _option_names(app)))
    for order, command in enumerate(COMMANDS):
        parent = app
        *groups, name = command.words
        for group in groups:
            if group not in parent:
                parent.command(App(name=group, help=GROUPS[group], help_epilogue="", sort_key=order))
            parent = parent[group]
        parent.command(command.function, name=name, help_epilogue=_epilogue(command.examples), sort_key=order)
    app.register_install_completion_command()
    return app


def _option_names(app: App) -> Iterator[str]:
    """Yield the options of all commands, such as `--data-dir`."""
    for command in COMMANDS:
        parsed = app
        for word in command.words:
            parsed = parsed[word]
        for argument in parsed.assemble_argument_collection(parse_docstring=False):
            yield from (name for name in argument.names if argument.parse and name.startswith("--"))


def _check_renamed(arguments: Sequence[str]) -> None:
    """Raise a `UsageError` for the old name of a command or option."""
    command = arguments[0] if arguments else ""
    if command in RENAMED_COMMANDS:
        raise UsageError(f"the command {command} is now called {RENAMED_COMMANDS[command]}: see shiftscope "
                         f"{RENAMED_COMMANDS[command]} --help")
    for old, new in RENAMED.items():
        if any(word.partition("=")[0] == old for word in arguments[1:]):
            raise UsageError(f"the option {old} is now called {new}: replace {old} with {new}")


def call(app: App, arguments: Sequence[str]) -> int:
    """Parse `arguments`, call the command's function, and return the exit code.

    The parameter `command` of a function receives the whole command line, to be recorded. A function with the parameter
    `processes` is called in that number of processes.
    """
    _check_renamed(arguments)
    function, bound, ignored = app.parse_args(list(arguments), print_error=False, exit_on_error=False)
    devices = bound.arguments.pop("processes", ONE_PROCESS).devices
    if must_start_processes(devices):
        from shiftscope.distributed.launch import launch

        return launch(arguments, devices, LAUNCHED)
    record = {"command": ["shiftscope", *arguments]} if "command" in ignored else {}
    function(*bound.args, **bound.kwargs, **record)
    return 0
