"""The settings file in docs/how-to/automate.md is valid for every command."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shiftscope.cli import main
from shiftscope.cli.app import COMMANDS, build_app

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "automate.md"

LINES = {
    "run": ["--models", "two-full", "--seeds", "2", "--epochs", "1", "--audit-images", "2", "--out", "run"],
    "train": ["two-full", "--epochs", "1", "--out", "train"],
    "evaluate": ["CHECKPOINT", "--out", "evaluated"],
    "audit": ["CHECKPOINT", "--fail-under", "mean=0"],
    "repair": ["CHECKPOINT", "--method", "recenter", "--images", "2", "--engine", "dense", "--out", "repaired"],
    "predict": ["CHECKPOINT", "pictures/disc/0.png"],
    "visualize": ["CHECKPOINT", "class:disc", "--steps", "2", "--neighbor-images", "2", "--out", "seen"],
    "report": ["run", "--out", "both.html"],
    "compare": ["run", "evaluated"],
    "export": ["CHECKPOINT", "--onnx", "net.onnx"],
    "lessons": [], "models list": [], "protocols": [], "data list": [], "data info": ["folder:pictures"], "doctor": [],
    "data pack": ["folder:pictures", "--out", "packed"],
}
"""Arguments of a small call of each command, in this order."""

NOT_CALLED = {"watch": ["run"], "data fetch": ["fashion-mnist"]}
"""Arguments of the commands that serve until Ctrl-C, or use the network."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the settings file of the page and three classes of pictures."""
    draw = np.random.default_rng(0)
    for name in ("disc", "ring", "star"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(8):
            pixels = draw.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "shiftscope.toml").write_text(blocks[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_accepts_the_file(folder):
    assert {" ".join(command.words) for command in COMMANDS} == LINES.keys() | NOT_CALLED.keys()
    for words, arguments in (LINES | NOT_CALLED).items():
        _, bound, _ = build_app().parse_args([*words.split(), *arguments], print_error=False, exit_on_error=False)
        if words in ("run", "train", "audit", "repair"):
            assert bound.arguments["data"].data == "folder:pictures" and bound.arguments["data"].canvas == (96, 96)


@pytest.mark.slow
def test_every_command_runs_with_the_file(folder, capsys):
    for words, arguments in LINES.items():
        line = [*words.split(), *(word.replace("CHECKPOINT", "run/checkpoints/two-full-seed3") for word in arguments)]
        assert main(line) == 0, (line, capsys.readouterr().err)
    assert (folder / "run" / "checkpoints" / "two-full-seed4").is_dir()
