"""Commands with closed or full streams, characters that cannot be encoded, or a deleted current folder."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shiftscope.cli import main, output
from shiftscope.cli.app import COMMANDS
from shiftscope.cli.streams import usable_streams
from shiftscope.errors import DataError, OutputError
from shiftscope.progress import LineProgress, default_progress

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(sys.platform != "linux", reason="streams, names and folders of Linux")]

CLASSES = (b"caf\xe9", b"\x1b[31mred\x07", b"[bold]x", "日本 ±".encode(), b":bag: $x_1$")
"""Names of class folders: no UTF-8, an order to the terminal, markup, letters beyond Latin, an emoji and a formula."""

NAMED = ("caf\\xe9", "\x1b[31mred\x07", "[bold]x", "日本 ±", ":bag: $x_1$")
SHOWN = ("caf\\xe9", "\\x1b[31mred\\x07", "[bold]x", "日本 ±", ":bag: $x_1$")

SHIFTSCOPE = [sys.executable, "-m", "shiftscope"]
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
FULL = "error: cannot write to standard output: {}; send it to another file or program\n"


class Forked:
    """Runs commands in forks of one process that has imported them all."""

    def __init__(self, folder: Path):
        script = Path(__file__).with_name("forked_commands.py")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SHIFTSCOPE_")}
        self.process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, cwd=folder, env=environment | {"OMP_NUM_THREADS": "1"})

    def __call__(self, *line: str, closed=(), encoding="utf-8", gone=False) -> tuple[int, str, str]:
        assert self.process.stdin is not None and self.process.stdout is not None
        case = {"line": line, "closed": closed, "encoding": encoding, "gone": gone}
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        assert "Traceback" not in found["err"] and "unexpected" not in found["err"], found["err"]
        return found["code"], found["out"], found["err"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with images in class folders of strange names, and with a file of them all."""
    folder = tmp_path_factory.mktemp("surroundings")
    random = np.random.default_rng(0)
    for index, name in enumerate(CLASSES):
        where = Path(os.fsdecode(os.path.join(os.fsencode(folder), b"da\xffta", name)))  # noqa: PTH118
        where.mkdir(parents=True)
        for number in range(6):
            pixels = (random.random((12, 12)) * 50 + 40 * index).astype("uint8")
            Image.fromarray(pixels).save(where / os.fsdecode(b"im\xfe%d.png" % number), format="png")
    return folder


@pytest.fixture(scope="module")
def forked(folder):
    """`forked(*words, closed=..., encoding=..., gone=...)` in `folder`, where a run was made with little else than a
    standard output of ASCII."""
    forked = Forked(folder)
    code, out, _ = forked("run", *LINES["run",], closed=[0, 2], encoding="ascii")
    assert code == 0 and "two-conv" in out
    yield forked
    forked.process.stdin.close()
    assert forked.process.wait(20) == 0


DATA, RUN = "folder:da\udcffta", "ru\udcffn"
FIRST, SECOND = (f"{RUN}/checkpoints/{name}-seed0" for name in ("two-full", "two-conv"))
PICTURE = "da\udcffta/caf\udce9/im\udcfe0.png"

LINES = {
    ("run",): ("--models", "two-full", "two-conv", "--data", DATA, "--canvas", "24", "--epochs", "1", "--no-audit",
               "--out", RUN),
    ("train",): ("two-full", "--data", DATA, "--canvas", "24", "--epochs", "1", "--out", "trained\udcff"),
    ("evaluate",): (FIRST, "--data", DATA, "--out", "evaluated\udcff"),
    ("audit",): (SECOND, "--data", DATA, "--against", FIRST, "--step", "8"),
    ("repair",): (FIRST, "--method", "placement-average", "--data", DATA, "--images", "2", "--out", "repaired\udcff"),
    ("predict",): (FIRST, PICTURE, "--out", "predicted\udcff"),
    ("visualize",): (FIRST, "class:0", "--data", DATA, "--steps", "1", "--neighbors", "1", "--attribute", "1",
                     "--units", "--out", "seen\udcff"),
    ("report",): (RUN, "--out", "page\udcff.html"),
    ("compare",): (RUN, RUN, "--models", "two-full", "two-conv", "--out", "compared\udcff"),
    ("export",): (FIRST, "--onnx", "net\udcff.onnx"),
    ("lessons",): (), ("models", "list"): (), ("protocols",): (),
    ("data", "list"): ("--data-dir", "da\udcffta"), ("data", "info"): (DATA,),
    ("data", "pack"): (DATA, "--out", "packed\udcff"), ("doctor",): ("--data-dir", "da\udcffta")}
"""Command -> what it is called with here. `watch` has tests of its own, `data fetch` needs a network."""

LEFT_OUT = {("watch",), ("data", "fetch")}


def test_every_command_is_tested():
    assert {command.words for command in COMMANDS} == set(LINES) | LEFT_OUT


@pytest.mark.parametrize("words", [words for words in LINES if words != ("run",)], ids=" ".join)
def test_a_command_works_with_an_ascii_standard_output_only(forked, words):
    code, out, _ = forked(*words, *LINES[words], closed=[0, 2], encoding="ascii")
    text = out.replace("\ufffd", "")  # the bytes of paths, which stay as they are
    assert code == 0 and text and text.isascii() and "\x1b" not in text and "\x07" not in text
    if words in (("evaluate",), ("data", "info")):
        for name in SHOWN:
            assert name.encode("ascii", "backslashreplace").decode() in out


@pytest.mark.parametrize("line", [("models", "list"), ("models", "list", "--json"), ("doctor",), ("--help",),
                                  ("evaluate", FIRST, "--data", DATA), ("evaluate", FIRST, "--data", DATA, "--json"),
                                  ("predict", FIRST, PICTURE)], ids=str)
def test_a_closed_standard_output_is_an_error(forked, line):
    code, _, said = forked(*line, closed=[1])
    assert code == 1 and said.endswith(FULL.format("Bad file descriptor"))


def test_files_are_written_despite_a_closed_standard_output(forked, folder):
    code, _, said = forked("predict", FIRST, PICTURE, "--out", "kept", closed=[0, 1])
    assert code == 1 and said.endswith(FULL.format("Bad file descriptor"))
    assert Image.open(folder / "kept" / "predictions.png").size and (folder / "kept" / "predictions.svg").read_text()


def test_with_all_streams_closed_the_exit_code_is_returned(forked):
    assert forked("nonsense", closed=[0, 1, 2])[0] == 2
    assert forked("--version", closed=[0, 1, 2])[0] == 1


@pytest.mark.parametrize("words", [*LINES, *sorted(LEFT_OUT)], ids=" ".join)
def test_a_deleted_current_folder_is_reported(forked, words):
    code, out, said = forked(*words, *LINES.get(words, ["x"]), gone=True)
    assert (code, out) == (2, "") and said == ("error: the current folder was deleted or cannot be read: change to "
                                               "another one with cd, and repeat the command\n")


def test_paths_are_printed_unchanged_for_other_programs(folder):
    done = subprocess.run([*SHIFTSCOPE, "data", "pack", DATA, "--out", "pa\udcfe"], cwd=folder, capture_output=True,
                          timeout=60)
    assert (done.returncode, done.stdout) == (0, b"pa\xfe\n") and (folder / "pa\udcfe" / "dataset.json").is_file()


def test_file_names_are_the_same_in_an_ascii_locale(folder, forked):
    line = ["data", "info", DATA, "--json"]
    done = subprocess.run([*SHIFTSCOPE, *line], cwd=folder, capture_output=True, timeout=60, env=os.environ | PLAIN_C)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads(forked(*line)[1])
    assert set(found["images_per_class"]["train"]) == set(NAMED)
    assert found["name"] == "da\\xffta"


def test_json_is_valid_unicode_for_any_path(forked):
    document = json.loads(forked("predict", FIRST, PICTURE, "--json")[1])
    assert document["predictions"][0]["file"] == "da\\xffta/caf\\xe9/im\\xfe0.png"
    assert set(document["predictions"][0]["scores"]) == set(NAMED)


def test_records_are_valid_unicode_for_any_path(folder, forked):
    environment = json.loads((folder / RUN / "env.json").read_bytes().decode())
    assert environment["settings"]["data"]["data"] == "folder:da\\xffta" and "ru\\xffn" in environment["command"]


@pytest.mark.parametrize("line", [
    ("evaluate", "no\udcff"), ("predict", FIRST, "no\udcff"), ("audit", "no\udcff.onnx"), ("audit", "no\udcff:Net"),
    ("train", "no\udcff"), ("train", "two-full", "--data", "npz:no\udcff"), ("no\udcff",),
    ("run", "--no\udcff"), ("report", "no\udcff"), ("visualize", FIRST, "--start", "no\udcff"),
    ("visualize", FIRST, "no\udcff"), ("audit", FIRST, "--device", "no\udcff"), ("data", "fetch", "no\udcff"),
    ("evaluate", "no\x1b[31m\u202e")], ids=ascii)
def test_messages_show_names_that_are_not_valid_text(forked, line):
    code, out, said = forked(*line, encoding="ascii")
    *_, said = said.splitlines()
    assert code in (2, 3) and out == "" and said.startswith("error: ") and len(said) < 400
    assert "no\\x1b[31m" in said or "no\\xff" in said or "no\\udcff" in said


def real(*line: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*SHIFTSCOPE, *line], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("close, code, says", [
    ("<&-", 0, ""), (">&-", 1, FULL.format("Bad file descriptor")), ("2>&-", 0, ""), ("<&- >&- 2>&-", 1, ""),
    (">/dev/full", 1, FULL.format("No space left on device")), ("2>/dev/full", 0, ""), ("<&- 2>&-", 0, "")])
@pytest.mark.parametrize("line", ["--version", "--help"])
def test_a_shell_may_close_streams(close, code, says, line):
    done = subprocess.run(["sh", "-c", f'exec "$0" -m shiftscope {line} {close}', sys.executable], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stderr) == (code, says) and bool(done.stdout) == (">" not in close.replace("2>", ""))


def test_watch_with_a_closed_standard_output_ends(folder, forked):
    done = subprocess.run(["sh", "-c", 'exec "$0" -m shiftscope watch "$1" >&-', sys.executable, RUN], cwd=folder,
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, FULL.format("Bad file descriptor"))


@pytest.mark.parametrize("size", ["1", "0", "abc", "-5", "7"])
@pytest.mark.parametrize("line", [("models", "list"), ("data", "list"), ("--help",), ("audit", "--help")], ids=str)
def test_narrow_terminals(capsys, monkeypatch, size, line):
    monkeypatch.setenv("COLUMNS", size)
    monkeypatch.setenv("TERM", "dumb")
    assert main(line) == 0
    said = capsys.readouterr().out
    assert line[0] != "models" or ("two-full" in said and "314,710" in said)


def test_tables_show_every_character_of_every_cell(capsys):
    output.write_table(("[red]a", "b\x1b[2J"), [("[/x] :bag:", "\u202eleft\udcff\n2")], title="t\x07\x9b")
    said = capsys.readouterr().out
    assert all(part in said for part in ("[red]a", "b\\x1b[2J", "[/x] :bag:", "\\u202eleft\\xff", "t\\x07\\x9b"))


def test_errors_and_progress_contain_no_terminal_escapes(workflows, capsys):
    workflows.error = DataError("no \x1b]0;title\x07 \udcff")
    assert main(["run"]) == 3
    assert capsys.readouterr().err == "error: no \\x1b]0;title\\x07 \\xff\n"
    stream = io.StringIO()
    LineProgress(stream).note("see \x1b[5m")
    LineProgress(stream).task("train \x9b", 1).close()
    assert stream.getvalue().startswith("see \\x1b[5m\ntrain \\x9b: 0 %")


class Full(io.StringIO):
    tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise OSError(28, "No space left on device")


def test_a_failing_progress_display_does_not_stop_the_work(monkeypatch):
    stream = Full()
    progress = LineProgress(stream)
    progress.note("hello")
    progress.task("train", 1).close()
    assert stream.tries >= 2, "it was tried, and went wrong"
    monkeypatch.setattr(sys, "stderr", None)
    default_progress().note("hello")


def test_streams_of_the_caller_are_unchanged(monkeypatch):
    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    before = sys.stdin, sys.stdout, sys.stderr
    with usable_streams():
        assert sys.stdout is mine
    assert (sys.stdin, sys.stdout, sys.stderr) == before
    assert issubclass(OutputError, Exception)
