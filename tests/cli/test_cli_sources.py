"""Command line over variable over file over default, and no key that nobody knows."""

import os
from pathlib import Path

import pytest

from shiftscope.cli import main


def settings(workflows, *line: str):
    """Run `shiftscope run LINE` and return what the workflow was given."""
    assert main(["run", *line]) == 0
    (_, (data, run), _), = workflows.calls
    workflows.calls.clear()
    return data, run


def test_defaults_are_those_of_the_settings(workflows):
    from shiftscope.settings import DataSettings, RunSettings

    data, run = settings(workflows)
    assert vars(data) == vars(DataSettings())
    assert vars(run) == vars(RunSettings())


def test_precedence_is_flag_variable_file_default(workflows, monkeypatch):
    Path("shiftscope.toml").write_text('[run]\nepochs = 4\nlimit = 40\nseed = 40\n')
    monkeypatch.setenv("SHIFTSCOPE_LIMIT", "30")
    monkeypatch.setenv("SHIFTSCOPE_SEED", "30")
    data, run = settings(workflows, "--seed", "20")
    assert (run.seed, data.limit, run.epochs, run.seeds) == (20, 30, 4, 1)


def test_a_table_applies_to_its_own_command_only(workflows):
    Path("shiftscope.toml").write_text("[run]\nepochs = 4\n")
    assert main(["train", "two-full"]) == 0
    (_, (_, _, training), _), = workflows.calls
    assert training.epochs is None


def test_shared_settings_apply_to_every_command_that_has_them(workflows):
    Path("shiftscope.toml").write_text(
        "[shared]\nepochs = 4\nlimit = 40\ndata_dir = 'here'\nmicro-batch = 8\n[train]\nepochs = 5\n")
    data, run = settings(workflows)
    assert (run.epochs, data.limit, data.data_dir) == (4, 40, Path("here"))
    assert main(["train", "two-full", "--limit", "30"]) == 0
    (_, (_, data, training), _), = workflows.calls
    assert (training.epochs, training.micro_batch, data.limit, data.data_dir) == (5, 8, 30, Path("here"))
    assert main(["doctor"]) == 0


def test_precedence_of_shared_settings(workflows, monkeypatch):
    Path("shiftscope.toml").write_text("[shared]\nepochs = 1\nlimit = 1\nseed = 1\nseeds = 1\n"
                                       "[run]\nepochs = 2\nlimit = 2\nseed = 2\n")
    monkeypatch.setenv("SHIFTSCOPE_LIMIT", "3")
    data, run = settings(workflows, "--seed", "4")
    assert (run.seeds, run.epochs, data.limit, run.seed) == (1, 2, 3, 4)


def test_shared_settings_of_subcommands(monkeypatch):
    import shiftscope.data

    asked = []
    monkeypatch.setattr(shiftscope.data, "fetch_dataset", lambda name, folder, progress: asked.append(folder) or [])
    Path("shiftscope.toml").write_text("[shared]\ndata_dir = 'here'\ndata = 'garments'\n")
    assert main(["data", "fetch", "fashion-mnist"]) == 0
    assert asked == [Path("here")]


@pytest.mark.parametrize("text", ['canvas = [48, 64]', 'canvas = "48x64"', 'canvas=["48", "64"]'])
def test_canvas_in_the_file(workflows, text):
    Path("shiftscope.toml").write_text(f"[run]\n{text}\n")
    assert settings(workflows)[0].canvas == (48, 64)


@pytest.mark.parametrize("typed, canvas", [("56", (56, 56)), ("48x64", (48, 64)), ("48X64", (48, 64))])
def test_canvas_on_the_command_line(workflows, typed, canvas):
    assert settings(workflows, "--canvas", typed)[0].canvas == canvas


@pytest.mark.parametrize("typed", ["0", "56x0", "x", "-3", "56x56x56", "56,56", "", "9" * 5000])
def test_an_invalid_canvas(workflows, capsys, typed):
    assert main(["run", f"--canvas={typed}"]) == 2
    assert f"as in 56 or 48x64, got {typed[:50]!r}"[:-1] in capsys.readouterr().err


@pytest.mark.parametrize("line", [["--models", "two-conv", "my.nets:Net"], ["--models", "two-conv,my.nets:Net"],
                                  ["--models", "two-conv", "--models", "my.nets:Net"]])
def test_several_models(workflows, line):
    assert settings(workflows, *line)[1].models == ("two-conv", "my.nets:Net")


def test_models_from_variable_and_file(workflows, monkeypatch):
    Path("shiftscope.toml").write_text('[run]\nmodels = ["invariant", "two-full"]\n')
    assert settings(workflows)[1].models == ("invariant", "two-full")
    monkeypatch.setenv("SHIFTSCOPE_MODELS", "two-conv two-full")
    assert settings(workflows)[1].models == ("two-conv", "two-full")


def test_a_switch_in_the_file_can_be_turned_off(workflows):
    Path("shiftscope.toml").write_text("[run]\ncontrols = true\n")
    assert settings(workflows)[1].controls is True
    assert settings(workflows, "--no-controls")[1].controls is False


def test_data_dir_with_dash_or_underscore(workflows, monkeypatch):
    for key in ("data_dir", "data-dir"):
        Path("shiftscope.toml").write_text(f'[run]\n{key} = "here"\n')
        assert settings(workflows)[0].data_dir == Path("here")
    monkeypatch.setenv("SHIFTSCOPE_DATA_DIR", "there")
    assert settings(workflows)[0].data_dir == Path("there")


@pytest.mark.parametrize("text, message", [
    ("[run]\nepocs = 3\n", "Did you mean --epochs?"),
    ("[trian]\nepochs = 3\n", "unknown table or key 'trian': did you mean 'train'?"),
    ("epochs = 3\n", "every key belongs in the table of its command, as in [run]"),
    ("run = 3\n", "run in shiftscope.toml must be a table [run], got 3"),
    ("[data]\ndata_dir = 'x'\n", "unknown table or key 'data.data_dir'"),
    ("[run]\nepochs = 'many'\n", "unable to convert \"many\" into int"),
    ("[run\n", "shiftscope.toml: Expected ']'"),
    ("[shard]\nepochs = 3\n", "unknown table or key 'shard': did you mean 'shared'?"),
    ("[shared]\nepocs = 3\n", "has the unknown key 'epocs' in [shared], no command has such an option: did you mean "
                              "'epochs'?"),
    ("[shared]\nzzzz = 3\n", "no command has such an option: `shiftscope COMMAND --help` shows them"),
    ("[shared]\nepochs = 'many'\n", "[epochs] from [shared] of shiftscope.toml: unable to convert \"many\" into int"),
    ("[shared]\nseed = [1, 2]\n", "[seed] from [shared] of shiftscope.toml: unable to convert"),
    ("[shared]\ncanvas = 'wide'\n", "as in 56 or 48x64, got 'wide'"),
    ("[shared.run]\nepochs = 3\n", "run in [shared] of shiftscope.toml must be a value, got a table"),
    ("shared = 3\n", "shared in shiftscope.toml must be a table [shared], got 3"),
    ("[shared]\nout = 'x'\n", "out in [shared] of shiftscope.toml chooses what is written or replaced"),
    ("[shared]\nonnx = 'x.onnx'\n", "onnx in [shared] of shiftscope.toml chooses what is written or replaced"),
    ("[shared]\nno-overwrite = false\n", "overwrite in [shared] of shiftscope.toml chooses"),
    ("[shared]\ndata = 'a:b'\n", "data in [shared] of shiftscope.toml names code, 'a:b'"),
])
def test_an_invalid_file(workflows, capsys, text, message):
    Path("shiftscope.toml").write_text(text)
    assert main(["run"]) == 2
    output = capsys.readouterr()
    assert message in output.err and output.err.count("\n") == 1 and output.out == ""
    assert not workflows.calls


def test_a_file_that_is_not_text(workflows, capsys):
    Path("shiftscope.toml").write_bytes(b"\xff\xfe[run]")
    assert main(["run"]) == 2
    assert "shiftscope.toml: 'utf-8' codec can't decode" in capsys.readouterr().err


def test_an_unknown_variable(workflows, capsys, monkeypatch):
    monkeypatch.setenv("SHIFTSCOPE_EPOCS", "3")
    assert main(["run"]) == 2
    assert "unknown variable 'SHIFTSCOPE_EPOCS': did you mean 'SHIFTSCOPE_EPOCHS'?" in capsys.readouterr().err


def test_the_old_name_of_a_variable_gives_the_new_one(workflows, capsys, monkeypatch):
    monkeypatch.setenv("SHIFTSCOPE_HOW", "blur")
    assert main(["run"]) == 2
    assert "unknown variable 'SHIFTSCOPE_HOW': it is now called SHIFTSCOPE_METHOD;" in capsys.readouterr().err


def test_a_variable_of_another_command_is_ignored(workflows, monkeypatch):
    monkeypatch.setenv("SHIFTSCOPE_MICRO_BATCH", "8")
    monkeypatch.setenv("SHIFTSCOPE_DEBUG", "0")
    assert main(["run"]) == 0
    assert len(workflows.calls) == 1


def test_subcommands_have_tables_too(monkeypatch):
    import shiftscope.data

    asked = []
    monkeypatch.setattr(shiftscope.data, "fetch_dataset", lambda name, folder, progress: asked.append(folder) or [])
    Path("shiftscope.toml").write_text("[data.fetch]\ndata_dir = 'here'\n")
    assert main(["data", "fetch", "fashion-mnist"]) == 0
    assert asked == [Path("here")]


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
@pytest.mark.parametrize("make, problem", [
    (os.mkfifo, "it is a named pipe, expected a regular file"),
    (lambda path: Path(path).symlink_to("/dev/zero"), "it is a device, expected a regular file"),
    (lambda path: Path(path).mkdir(), "it is a folder"),
    (lambda path: Path(path).write_bytes(b"#" * (2**20 + 1)), "the limit for such a file is 1,048,576"),
    (lambda path: Path(path).write_bytes(b"\xff"), "can't decode byte"),
    (lambda path: Path(path).write_text("a = " + "[" * 5000), "recursion"),
    (lambda path: Path(path).write_text("[run"), "correct the file or move it away"),
])
def test_a_settings_file_that_cannot_be_read(workflows, capsys, make, problem):
    make("shiftscope.toml")
    assert main(["run"]) == 2
    output = capsys.readouterr().err
    assert "cannot read" in output and problem in output and len(output) < 400


def test_a_canvas_with_too_many_pixels(capsys):
    assert main(["train", "two-full", "--data", "garments:20,10", "--canvas", "40000"]) == 2
    assert "canvas must be at most 16,777,216 pixels in total, got (40000, 40000)" in capsys.readouterr().err
