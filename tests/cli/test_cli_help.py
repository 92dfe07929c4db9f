"""Help that is quick, complete, and true."""

import json
import os
import re
import subprocess
import sys

import pytest

from shiftscope.cli import main
from shiftscope.cli.app import COMMANDS, build_app

HEAVY = ("torch", "numpy", "matplotlib", "PIL", "jinja2", "shiftscope.models", "shiftscope.data")


@pytest.mark.parametrize("line", [["--help"], ["--version"], ["run", "--help"], ["evaluate", "--help"],
                                  ["data", "--help"]])
def test_help_imports_nothing_heavy(line):
    script = ("import sys, json, shiftscope.cli\n"
              "code = shiftscope.cli.main(sys.argv[1:])\n"
              f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
              "sys.stderr.write(json.dumps([code, loaded]))")
    done = subprocess.run([sys.executable, "-c", script, *line], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stderr) == [0, []]
    assert "shiftscope" in done.stdout.lower()


def test_version(capsys):
    import shiftscope

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split() == ["shiftscope", shiftscope.__version__]


def command(words):
    app = build_app()
    for word in words:
        app = app[word]
    return app


@pytest.mark.parametrize("words", [c.words for c in COMMANDS], ids=" ".join)
def test_every_option_and_argument_is_explained(words):
    for argument in command(words).assemble_argument_collection(parse_docstring=True):
        if argument.show:
            text = argument.parameter.help or ""
            assert len(text) > 5 and text.rstrip().endswith((".", ")")), argument.name


@pytest.mark.parametrize("words, function, examples", [(c.words, c.function, c.examples) for c in COMMANDS],
                         ids=[" ".join(c.words) for c in COMMANDS])
def test_examples_are_valid_commands(words, function, examples, capsys):
    assert main([*words, "--help"]) == 0
    page = capsys.readouterr().out
    assert examples
    for example in examples:
        assert f"  shiftscope {example}\n" in page
        found, _, _ = build_app().parse_args(example.split(), print_error=False, exit_on_error=False)
        assert found is function


def test_the_main_help_page_describes_every_command(capsys):
    assert main([]) == 0
    page = capsys.readouterr().out
    for c in COMMANDS:
        assert re.search(rf"│ {c.words[0]}  +[A-Z]", page), c.words
    assert main(["data"]) == 0
    page = capsys.readouterr().out
    assert all(re.search(rf"│ {word}  +[A-Z]", page) for word in ("list", "info", "fetch"))


def test_options_that_are_settings_come_from_the_settings():
    from dataclasses import fields

    from shiftscope.settings import DataSettings, RunSettings, TrainSettings

    for words, records in ((("run",), (DataSettings, RunSettings)), (("train",), (DataSettings, TrainSettings))):
        names = {name for argument in command(words).assemble_argument_collection() for name in argument.names}
        wanted = {"--" + field.name.replace("_", "-") for record in records for field in fields(record)}
        assert wanted <= names


def test_defaults_are_shown(capsys):
    assert main(["run", "--help"]) == 0
    page = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: 56; mode fill" in page
    for default in ("garments", "two-full two-conv", "shiftscope-run", "auto"):
        assert f"[default: {default}]" in page
    assert "[default: None]" not in page and "[default: ]" not in page and "[default: False]" not in page


def test_no_color_is_honored():
    line = [sys.executable, "-m", "shiftscope", "--help"]
    seen = {}
    for name, value in (("colored", {"FORCE_COLOR": "1"}), ("plain", {"FORCE_COLOR": "1", "NO_COLOR": "1"})):
        env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")} | value
        seen[name] = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True,
                                    env=env | {"TERM": "xterm-256color"}).stdout
    assert re.search(r"\x1b\[[\d;]*3\d", seen["colored"])
    assert not re.search(r"\x1b\[[\d;]*3\d", seen["plain"])


def test_the_completion_script_has_the_options():
    script = build_app().generate_completion(shell="bash")
    assert "shiftscope" in script and "--learning-rate" in script
