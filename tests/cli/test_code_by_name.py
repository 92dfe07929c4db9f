"""Code runs because the command line names it, never because a file, a variable or the current folder does."""

import json
import operator
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import Argument

import shiftscope
from bench.worker import WorkerProcess
from shiftscope import audit, load_dataset
from shiftscope.cli import main
from shiftscope.cli.app import COMMANDS, build_app
from shiftscope.cli.sources import CODE, MAY_BE_CODE, TRUST, WRITING, variable
from shiftscope.distributed import launch
from shiftscope.errors import DataError, UsageError
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.resolve import resolve_object
from shiftscope.runs import RunFolder
from shiftscope.runs.records import StoredRecord
from shiftscope.workflows.report.gather import load_stored_model

COMMAND = Path(sys.executable).with_name("shiftscope")
MARK = "Path(__file__).with_name('ran').write_text(__name__)\n"

NOT_CODE = {
    "--background", "--baseline", "--class-map", "--data-dir", "--device", "--engine", "--fill", "--head", "--method",
    "--jitter-mode", "--judge",
    "--license", "--mode", "--optimizer", "--output-type", "--parametrization", "--precision", "--preset",
    "--schedule", "--select-output", "--split", "--start", "--title", "FIRST", "IMAGES", "--interpolation", "--resize",
    "--only", "--protocol", "--weights",
    "OBJECTIVES", "RUN", "RUNS", "SECOND"}
"""Options with a text or a path as value that is never imported."""

POSITIONAL = {"train": ["x"], "evaluate": ["x"], "audit": ["x"], "repair": ["x", "--method", "blur"],
              "predict": ["x", "y"], "visualize": ["x"], "compare": ["x", "y"], "export": ["x"], "data": ["x"]}
"""What commands need to be given."""


def options() -> list[tuple[tuple[str, ...], Argument]]:
    """(words of the command, option) of all commands."""
    app, found = build_app(), []
    for command in COMMANDS:
        parsed = app
        for word in command.words:
            parsed = parsed[word]
        found += [(command.words, argument) for argument in parsed.assemble_argument_collection(parse_docstring=False)
                  if argument.parse]
    return found


def named(names: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    return [(words, argument.name) for words, argument in options() if argument.name in names]


@pytest.fixture
def helper():
    """A module in the current folder that leaves a file when it is imported."""
    Path("helper.py").write_text("from pathlib import Path\n" + MARK)
    yield Path("ran")
    assert sys.modules.pop("helper", None) is None


def assert_refused(capsys, *line: str) -> str:
    """Run a command that must say one sentence and change nothing; return the sentence."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert main(line) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1 and len(said.err) < 400
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    return said.err


@pytest.mark.parametrize("words, name", named(CODE + MAY_BE_CODE), ids=str)
def test_a_variable_cannot_name_code(helper, capsys, monkeypatch, words, name):
    monkeypatch.setenv(variable(name), "helper:thing")
    said = assert_refused(capsys, *words)
    assert f"the variable {variable(name)} names code, 'helper:thing'" in said and name in said


@pytest.mark.parametrize("words, name", [pair for pair in named(CODE + MAY_BE_CODE) if pair[1].startswith("--")],
                         ids=str)
def test_the_file_cannot_name_code(helper, capsys, words, name):
    key = name.removeprefix("--")
    Path("shiftscope.toml").write_text(f"[{'.'.join(words)}]\n{key} = 'helper:thing'\n")
    said = assert_refused(capsys, *words, *POSITIONAL.get(words[0], []))
    assert f"{key} in [{'.'.join(words)}] of shiftscope.toml names code, 'helper:thing'" in said


@pytest.mark.parametrize("text", [
    'models = ["two-full", "helper:thing"]', 'models = "two-full,helper:thing"', 'models = "two-full helper:thing"',
    'data = {data = "helper:thing"}', 'data = "helper.sub:thing.part"', 'data = "ｈelper:thing"'])
def test_other_spellings_of_a_name_of_code(helper, capsys, text):
    Path("shiftscope.toml").write_text(f"[run]\n{text}\n", encoding="utf-8")
    assert "names code" in assert_refused(capsys, "run")


def test_a_long_name_is_shortened(helper, capsys):
    Path("shiftscope.toml").write_text(f"[run]\ndata = 'helper:{'a' * 10_000}'\n")
    assert "names code" in assert_refused(capsys, "run")


def test_values_that_are_not_code_are_read(workflows, monkeypatch):
    Path("shiftscope.toml").write_text('[run]\ndata = "folder:a:b"\nmodels = ["two-conv"]\n')
    monkeypatch.setenv("SHIFTSCOPE_DATA_DIR", "a:b")
    assert main(["run"]) == 0
    (_, (data, run), _), = workflows.calls
    assert (data.data, data.data_dir, run.models) == ("folder:a:b", Path("a:b"), ("two-conv",))


def test_the_command_line_may_name_code(workflows):
    Path("shiftscope.toml").write_text('[run]\nmodels = ["a:B"]\n')
    assert main(["run", "--models", "c:D", "--data", "e:f"]) == 0
    assert workflows.calls[0][1][1].models == ("c:D",)


@pytest.mark.parametrize("words, name", named(WRITING), ids=str)
def test_the_file_cannot_set_what_is_written(capsys, words, name):
    value = "true" if name in ("--overwrite", "--resume") else "'elsewhere'"
    Path("shiftscope.toml").write_text(f"[{'.'.join(words)}]\n{name.removeprefix('--')} = {value}\n")
    Path("elsewhere").mkdir()
    given = POSITIONAL.get(words[0], [])
    assert f"chooses what is written or replaced, and a settings file must not: remove the key and use {name}" in (
        assert_refused(capsys, *words, *given))


def test_the_negative_name_of_a_switch(capsys):
    Path("shiftscope.toml").write_text("[run]\nno-overwrite = false\n")
    assert "overwrite in [run] of shiftscope.toml chooses" in assert_refused(capsys, "run")


def test_variables_may_set_what_is_written(workflows, monkeypatch):
    monkeypatch.setenv("SHIFTSCOPE_OUT", "there")
    monkeypatch.setenv("SHIFTSCOPE_OVERWRITE", "true")
    assert main(["run"]) == 0
    assert workflows.calls[0][1][1].out == Path("there") and workflows.calls[0][1][1].overwrite


def test_every_option_is_classified_as_code_or_not():
    texts = {argument.name for _, argument in options() if argument.name != "*"
             and any(kind in str(argument.hint) for kind in ("str", "Path", "Literal", "Any"))}
    texts -= {"--fail-under"}  # numbers by names
    assert texts - set(WRITING) == NOT_CODE | set(CODE) | set(MAY_BE_CODE)
    switches = {argument.name for _, argument in options()} & {"--overwrite", "--resume", "--force"}
    assert switches <= set(WRITING)
    assert {argument.name for _, argument in options() if "trust" in argument.name} == set(TRUST)


@pytest.mark.parametrize("words, name", named(TRUST), ids=str)
def test_only_the_command_line_lets_a_file_run_code(capsys, monkeypatch, words, name):
    given = POSITIONAL.get(words[0], [])
    Path("shiftscope.toml").write_text(f"[{'.'.join(words)}]\n{name.removeprefix('--')} = true\n")
    assert "of shiftscope.toml would let a file run code" in assert_refused(capsys, *words, *given)
    Path("shiftscope.toml").unlink()
    monkeypatch.setenv("SHIFTSCOPE_TRUST_MODEL_FILE", "true")
    assert "SHIFTSCOPE_TRUST_MODEL_FILE would let a file run code" in assert_refused(capsys, *words, *given)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a FIFO")
@pytest.mark.parametrize("kind, says", [("fifo", "it is a named pipe"), ("folder", "shiftscope.toml"),
                                        ("large", "it holds 2,097,152 bytes"), ("deep", "correct the file")])
def test_an_invalid_settings_file(capsys, kind, says):
    path = Path("shiftscope.toml")
    {"fifo": lambda: os.mkfifo(path), "folder": path.mkdir, "large": lambda: path.write_bytes(b"#" * 2**21),
     "deep": lambda: path.write_text(f"a = {'[' * 100_000}")}[kind]()
    assert main(["run"]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and len(said) < 400


@pytest.fixture
def hostile(helper) -> Path:
    """A checkpoint whose dataset is code."""
    return save(TwoFullNet(canvas=(40, 48)), "ckpt", provenance=Provenance(
        dataset="helper:thing", class_names=[str(k) for k in range(10)], placement={
            "image": [28, 28], "canvas": [40, 48], "mode": "canvas", "background": 0}))


@pytest.mark.parametrize("line, code", [
    (["evaluate", "ckpt"], 2), (["audit", "ckpt"], 2), (["audit", "ckpt", "--against", "ckpt"], 2),
    (["repair", "ckpt", "--method", "placement-average"], 2),
    (["visualize", "ckpt", "--attribute", "1", "--steps", "1"], 2),
    (["visualize", "ckpt", "class:0", "--steps", "1", "--units"], 2)], ids=str)
def test_a_checkpoint_cannot_name_code_as_dataset(hostile, capsys, line, code):
    assert main([*line, "--quiet"]) == code
    assert "helper:thing, and code is never imported by a name found in a file" in capsys.readouterr().err
    assert not Path("ran").exists()


@pytest.mark.parametrize("change", [
    {"model": "helper:thing"}, {"model": "foreign", "preprocess": "helper:thing"},
    {"repaired": [{"method": "helper:thing", "shape": [1, 40, 48], "head": "mean", "background": 0,
                   "image": [28, 28]}]},
    {"arguments": {"activation": "helper:thing"}}], ids=str)
def test_a_checkpoint_cannot_name_code_as_model(hostile, capsys, change):
    path = hostile / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main(["predict", "ckpt", "x.png"]) == 3
    assert capsys.readouterr().err.startswith("error: ") and not Path("ran").exists()


def test_a_run_cannot_name_code_as_dataset(hostile):
    found = audit(TwoFullNet(canvas=(40, 48)), load_dataset("garments:20,10"), placement=Placement(
        image=(28, 28), canvas=(40, 48), max_shift=0))
    run = RunFolder("run")
    run.write_environment({"schema_version": 1, "settings": {"data": {"data": "helper:thing"}}})
    run.checkpoint("job").parent.mkdir()
    hostile.rename(run.checkpoint("job"))
    with pytest.raises(DataError, match="the images come from code, helper:thing"):
        load_stored_model(StoredRecord(record=found, run=run.path, folder=run.result("job", "audit")), None, "cpu",
                 SilentProgress())


def shadows(*names: str) -> None:
    """Write modules of these names into the current folder; each notes that it was imported."""
    for name in names:
        Path(f"{name}.py").write_text("with open('ran', 'a') as file:\n    file.write(__name__ + ' ')\n")


@pytest.mark.parametrize("command", [
    pytest.param([str(COMMAND)], marks=pytest.mark.skipif(not COMMAND.exists(), reason="not installed as a command")),
    [sys.executable, "-m", "shiftscope"]], ids=["command", "-m"])
def test_modules_in_the_current_folder_do_not_shadow_others(command):
    shadows("torch", "numpy", "random", "socket", "json", "cyclopts", "multiprocessing", "sitecustomize", "logging")
    if command[0] == str(COMMAND):
        shadows("shiftscope")
    done = subprocess.run([*command, "doctor", "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["versions"]["torch"] and not Path("ran").exists()


def test_a_module_of_the_current_folder_is_found_last(monkeypatch):
    shadows("colorsys", "chunk_of_mine")
    Path("chunk_of_mine.py").write_text("import colorsys\nthing = colorsys.rgb_to_hsv(1, 0, 0)\n")
    for name in ("colorsys", "chunk_of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = list(sys.path)
    assert resolve_object("chunk_of_mine:thing") == (0.0, 1.0, 1.0)
    assert sys.path == before and not Path("ran").exists()
    with pytest.raises(UsageError, match=r"does not exist: .*colorsys\.py\)"):
        resolve_object("colorsys:Net")
    with pytest.raises(UsageError, match="searched the installed packages and the current folder"):
        resolve_object("nowhere_at_all:Net")
    assert sys.path == before
    del sys.modules["chunk_of_mine"]


def test_a_path_with_the_current_folder_is_unchanged(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path.cwd()), *sys.path, str(Path.cwd())])
    before = list(sys.path)
    resolve_object("math:pi")
    assert sys.path == before


def test_started_processes_import_nothing_from_the_current_folder(monkeypatch):
    shadows("shiftscope", "multiprocessing")
    received = []

    def started(config, executable):
        return lambda *line: received.append(subprocess.run(
            [executable, "-c", "import shiftscope, multiprocessing; print(shiftscope.__version__)"], check=True,
            capture_output=True, text=True).stdout)

    monkeypatch.setattr(launch, "elastic_launch", started)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert launch.launch(["audit"], 2, "_MARK") == 0
    assert received == [shiftscope.__version__ + "\n"] and "PYTHONSAFEPATH" not in os.environ
    assert not Path("ran").exists()


def test_a_benchmark_process_imports_nothing_from_the_current_folder():
    shadows("multiprocessing", "torch", "socket", "signal")
    with WorkerProcess(operator.attrgetter, "real") as part:
        assert part(2.0) == 2.0
    assert not Path("ran").exists()
