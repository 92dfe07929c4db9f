"""Commands with --out, --onnx and the like: files that are there are not replaced unless --overwrite says so."""

import json
import os
from pathlib import Path

import pytest
import torch

from shiftscope import files
from shiftscope.cli import main
from shiftscope.errors import OutputError, UsageError
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.reporting.audit_figures import audit_figure_names
from shiftscope.runs.outputs import new_files, require_new, require_writable

PLACE = Placement(image=(8, 8), canvas=(10, 9))
GONE = "no-such-checkpoint"
"""Where a command refuses with 2 although the checkpoint is missing (which is 3), it looked at its output first."""


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHIFTSCOPE_DATA_DIR", raising=False)


@pytest.fixture(scope="module")
def checkpoint(data, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return save(TwoFullNet(5, canvas=PLACE.canvas, classes=3), tmp_path_factory.mktemp("model") / "net",
                provenance=Provenance(name="net", dataset=f"npz:{data}", class_names=["a", "b", "c"],
                                      placement=PLACE.to_dict(), trained="centered"))


def refused(line: list[str], capsys, fingerprint, folder: Path, name: str) -> None:
    """Check that a command is refused because of a file, and changes nothing."""
    before = fingerprint(folder)
    capsys.readouterr()
    assert main(line) == 2
    said = capsys.readouterr().err
    assert f"{name} already exists; replace it with --overwrite" in said and len(said.splitlines()) == 1
    assert fingerprint(folder) == before


LINES = {
    "evaluate": (["evaluate", "{}", "--out", "d", "--quiet"],
                 ["result.json", "arrays.npz", "confusion.png", "classified.svg"]),
    "audit": (["audit", "{}", "--out", "d", "--quiet"], ["result.json", "arrays.npz", "equivariance/arrays.npz"]),
    "audit against": (["audit", "{}", "--against", "{}", "--out", "d", "--quiet"],
                      ["against/result.json", "against/equivariance/result.json", "comparison.json"]),
    "attribute": (["visualize", "{}", "--attribute", "1", "--out", "d", "--quiet"],
                  ["attribution.svg", "attribution-occlusion/result.json"]),
    "units": (["visualize", "{}", "--units", "--out", "d", "--quiet"], ["units/result.json"]),
    "export": (["export", "{}", "--onnx", "d/net.onnx"], ["net.onnx"]),
}


@pytest.mark.parametrize("command, name", [(command, name) for command, (_, names) in LINES.items() for name in names])
def test_existing_files_are_refused_before_anything_is_read(command, name, capsys, fingerprint, tmp_path):
    path = Path("d", name)
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    refused([part.format(GONE) for part in LINES[command][0]], capsys, fingerprint, tmp_path, str(path))


@pytest.mark.parametrize("name", ["accuracy-map.png", "class-maps-net-centered.svg", "layers-net.png",
                                  "changes-net-centered-again-1.png"])
def test_existing_audit_figures_are_refused_before_the_audit(name, checkpoint, capsys, fingerprint, tmp_path):
    Path("d").mkdir()
    Path("d", name).write_text("mine")
    refused(["audit", str(checkpoint), "--against", str(checkpoint), "--out", "d", "--quiet"], capsys, fingerprint,
            tmp_path, f"d/{name}")


@pytest.mark.parametrize("line", [["evaluate", "{}", "--out", "d", "--quiet"],
                                  ["visualize", "{}", "class:a", "--steps", "1", "--neighbors", "0", "--out", "d",
                                   "--quiet"]])
def test_repeated_commands_need_overwrite_which_keeps_other_files(line, checkpoint, capsys, fingerprint,
                                                                             tmp_path):
    line = [part.format(checkpoint) for part in line]
    assert main(line) == 0, capsys.readouterr().err
    made = {path: path.read_bytes() for path in Path("d").rglob("*") if path.is_file()}
    first = "class-a.png" if line[0] == "visualize" else "result.json"
    refused(line, capsys, fingerprint, tmp_path, f"d/{first}")
    for name in ("notes.txt", "confusion-mine.png", "deep/result.json"):
        files.write_text(Path("d", name), "mine")
    for path in made:
        path.write_bytes(b"")
    assert main([*line, "--overwrite"]) == 0
    assert all(path.stat().st_size for path in made)
    assert {path.read_text() for path in (Path("d/notes.txt"), Path("d/confusion-mine.png"),
                                          Path("d/deep/result.json"))} == {"mine"}
    assert not list(Path("d").rglob(".lock")), "such folders are nobody's in particular"


def test_results_of_several_commands_share_a_folder(checkpoint, capsys):
    Path("d").mkdir()
    Path("d", "mine.png").write_text("mine")
    visualize = ["--steps", "1", "--neighbors", "0", "--out", "d", "--quiet"]
    for line in (["evaluate", str(checkpoint), "--out", "d/test"],
                 ["evaluate", str(checkpoint), "--out", "d", "--quiet"],
                 ["visualize", str(checkpoint), "class:a", *visualize],
                 ["visualize", str(checkpoint), "class:b", *visualize]):
        assert main(line) == 0, capsys.readouterr().err
    assert Path("d/class-a/result.json").exists() and Path("d/class-b/result.json").exists()
    assert json.loads(Path("d/quality.json").read_text())["objectives"][0]["objective"] == "class:b"
    assert Path("d/mine.png").read_text() == "mine"


def test_foreign_quality_json_is_refused(checkpoint, capsys, fingerprint, tmp_path):
    Path("d").mkdir()
    Path("d/quality.json").write_text('{"my": "notes"}')
    refused(["visualize", str(checkpoint), "class:a", "--out", "d", "--quiet"], capsys, fingerprint, tmp_path,
            "d/quality.json")


def test_compare(checkpoint, capsys, fingerprint, tmp_path):
    for name in "ab":
        assert main(["evaluate", str(checkpoint), "--out", name, "--quiet"]) == 0
    line = ["compare", "a", "b", "--out", "d", "--quiet"]
    assert main(line) == 0
    figure, = Path("d").glob("disagreements-*.png") if list(Path("d").glob("*.png")) else [None]
    refused(line, capsys, fingerprint, tmp_path, "d/comparison.json")
    Path("d/comparison.json").unlink()
    files.write_text(Path("d/disagreements-net-centered-net-centered-seed0.svg"), "mine")
    refused(line, capsys, fingerprint, tmp_path, str(figure or "d/disagreements-net-centered-net-centered-seed0.svg"))
    assert main([*line, "--overwrite"]) == 0


def test_export_replaces_a_file_with_overwrite(checkpoint, monkeypatch, capsys):
    Path("net.onnx").write_text("mine")
    monkeypatch.setattr("shiftscope.workflows.use_checkpoint.export_onnx",
                        lambda model, path, shape, batch: files.write_text(path, "new") or path)
    assert main(["export", str(checkpoint), "--onnx", "net.onnx", "--overwrite"]) == 0
    assert Path("net.onnx").read_text() == "new"
    Path("folder.onnx").mkdir()
    assert main(["export", str(checkpoint), "--onnx", "folder.onnx", "--overwrite"]) == 2
    assert "folder.onnx is a folder" in capsys.readouterr().err


def test_repair_keeps_the_original_model(checkpoint, data, capsys, fingerprint, tmp_path):
    assert main(["train", "two-full", "--data", f"npz:{data}", "--canvas", "12", "--epochs", "1", "--out", "d",
                 "--quiet"]) == 0
    before = fingerprint(tmp_path)
    assert main(["repair", "d", "--method", "recenter", "--out", "d", "--overwrite", "--quiet"]) == 2
    assert "contains the checkpoint" in capsys.readouterr().err and fingerprint(tmp_path) == before


# ---------------------------------------------------------------------- the functions

def test_impossible_folders_are_refused_first():
    Path("file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write into file/below/d: .*file is not a folder"):
        require_writable(Path("file/below/d"))
    require_writable(Path("new/below"))
    assert list(Path().iterdir()) == [Path("file")]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_folders_without_permission_are_refused_first():
    Path("closed").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="no permission to write into"):
        require_writable(Path("closed/d"))


def test_links_count_as_files_and_folders_are_never_replaced():
    Path("d/folder").mkdir(parents=True)
    Path("d/link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="d/link already exists"):
        require_new(Path("d"), ["link"])
    require_new(Path("d"), ["link"], overwrite=True)
    with pytest.raises(UsageError, match="d/folder is a folder"):
        require_new(Path("d"), ["folder"], overwrite=True)


def test_unexpected_existing_files_are_not_replaced():
    files.write_text(Path("d/later.json"), "mine")
    files.write_text(Path("beside.json"), "mine")
    with new_files(Path("d"), ["first.json"]):
        files.write_text(Path("d/first.json"), "a")
        files.write_text(Path("d/first.json"), "b")
        files.write_text(Path("beside.json"), "elsewhere it is not our business")
        with pytest.raises(OutputError, match=r"cannot write .*later\.json: it already exists"):
            files.write_text(Path("d/later.json"), "ours")
    assert Path("d/later.json").read_text() == "mine" and Path("d/first.json").read_text() == "b"
    files.write_text(Path("d/later.json"), "the block has ended")
    with new_files(Path("d"), overwrite=True):
        files.write_text(Path("d/later.json"), "told to")
    assert Path("d/later.json").read_text() == "told to"


def test_predicted_figure_names_match_the_written_ones(checkpoint, monkeypatch):
    written = []
    monkeypatch.setattr("shiftscope.workflows.audit_model.save_figure", lambda _, folder, name: written.append(name))
    assert main(["audit", str(checkpoint), "--out", "d", "--quiet"]) == 0
    assert set(written) <= set(audit_figure_names([("net", "centered")])) and len(written) >= 5
