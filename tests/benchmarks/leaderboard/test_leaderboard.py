"""`benchmarks/run_leaderboard.py` from the command line to records and page, with one epoch on small images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from leaderboard import make, run
from leaderboard.entries import ENTRIES, REPAIRS, LeaderboardSettings, entries_named
from leaderboard.records import read_record
from page_markers import markers
from run_leaderboard import main
from shiftscope.auditing import audit
from shiftscope.data import load_dataset
from shiftscope.errors import Interrupted
from shiftscope.models import build_model, load
from shiftscope.models.repair import METHODS, repair
from shiftscope.placement import Placement
from shiftscope.workflows.load_inputs import use_one_pass

pytestmark = pytest.mark.slow

CANVAS = (24, 20)
QUICK = ("two-full-centered", "two-full", "two-full-recenter")


@pytest.fixture
def board(npz, tmp_path, monkeypatch, capsys):
    """Return a function that runs the leaderboard with its work and records in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHIFTSCOPE_DATA_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments, code=0):
        line = ["--data", f"npz:{npz}", "--canvas", "24x20", "--epochs", "1", "--out", "work",
                "--results", "records", "--device", "cpu", "--quiet", *arguments]
        assert main(line) == code
        return capsys.readouterr()

    return call


def test_records_agree_with_an_audit_of_the_checkpoint(board, npz, tmp_path):
    result = json.loads(board("--entries", *QUICK, "--seeds", "2", "--json").out)
    files = sorted(path.name for path in (tmp_path / "records").iterdir())
    assert files == sorted(f"{entry}-seed{seed}.json" for entry in QUICK for seed in (0, 1))
    assert [one["missing"] for one in result["entries"]] == [[], [], []] and result["schema_version"] == 2
    data, placement = load_dataset(f"npz:{npz}"), Placement(image=(12, 12), canvas=CANVAS)
    for seed in (0, 1):
        record = read_record(tmp_path / "records" / f"two-full-seed{seed}.json")
        alone = audit(load(tmp_path / "work" / "checkpoints" / f"two-full-seed{seed}"), data, placement=placement)
        assert record.correct_counts.tolist() == alone.correct_counts.tolist()
        assert (record.images, record.placements, record.epochs, record.train_images) == (60, 13 * 9, 1, 160)
        assert (record.mean_accuracy, record.consistency) == (alone.mean_accuracy, alone.consistency)
        middle = alone.offsets.tolist().index(list(placement.middle))
        assert record.flips == int((alone.predictions != alone.predictions[:, [middle]]).sum()) > 0
        assert record.hardware["cores"] >= 1 and record.hardware["torch"] == torch.__version__
        assert record.train_seconds > 0
        assert record.claims["canvas"]["level"] == "none"
    assert read_record(tmp_path / "records" / "two-full-centered-seed0.json").trained == "centered"


def test_a_repair_reuses_the_training_and_is_exact_if_it_claims_this(board, tmp_path, monkeypatch):
    board("--entries", "two-full", "--seeds", "1")
    trained = []
    train = make.train
    monkeypatch.setattr(make, "train", lambda *a, **k: trained.append(k["name"]) or train(*a, **k))
    board("--entries", "two-full-recenter", "--seeds", "1", "--resume")
    original, repaired = (read_record(tmp_path / "records" / f"{name}-seed0.json")
                    for name in ("two-full", "two-full-recenter"))
    assert trained == [] and repaired.train_seconds == original.train_seconds and repaired.repair == "recenter"
    assert repaired.claims["canvas"]["level"] == "exact" and repaired.flips == 0
    assert repaired.mean_accuracy == repaired.worst_case_accuracy and repaired.consistency == 1.0
    assert original.worst_case_accuracy < original.mean_accuracy


def test_fine_tuning_starts_from_the_repaired_model(board, tmp_path):
    board("--entries", "two-conv-polyphase,two-conv-polyphase-finetuned", "--seeds", "1")
    before, tuned = (read_record(tmp_path / "records" / f"two-conv-polyphase{end}-seed0.json")
                     for end in ("", "-finetuned"))
    assert (before.epochs, tuned.epochs) == (1, 2) and tuned.train_seconds > before.train_seconds
    assert "fine-tuning" not in before.description and "fine-tuning" in tuned.description
    for one in (before, tuned):
        assert one.flips <= one.ties and one.claims["canvas"]["level"] == "exact"


def test_existing_records_are_not_computed_again(board, tmp_path, monkeypatch):
    board("--entries", "two-full", "--seeds", "1")
    before = (tmp_path / "records" / "two-full-seed0.json").read_bytes()
    monkeypatch.setattr(make, "audit", lambda *a, **k: pytest.fail("audited again"))
    board("--entries", "two-full", "--seeds", "1")  # the work folder is not opened
    assert (tmp_path / "records" / "two-full-seed0.json").read_bytes() == before


def test_an_interrupted_session_continues(board, tmp_path, monkeypatch):
    make_record = run.make_record

    def interrupt(entry, seed, context, stop):
        if (entry.name, seed) == ("two-full", 1):
            raise Interrupted("interrupted while training")
        return make_record(entry, seed, context, stop)

    monkeypatch.setattr(run, "make_record", interrupt)
    output = board("--entries", "two-full", "two-full-recenter", "--seeds", "2", code=130)
    assert output.err == "interrupted while training\n"
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["two-full-seed0.json"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    again = board("--entries", "two-full", "--seeds", "2", code=2)
    assert "already contains a run; continue it with --resume" in again.err
    result = json.loads(board("--entries", "two-full", "--seeds", "2", "--resume", "--json").out)
    assert result["entries"][0]["seeds"] == [0, 1]


def test_the_terminal_shows_the_rows(board, tmp_path):
    output = board("--entries", "two-full", "--seeds", "1").out
    one = read_record(tmp_path / "records" / "two-full-seed0.json")
    assert f"{100 * one.mean_accuracy:.1f} %" in next(line for line in output.splitlines() if "perceptron" in line)
    assert "chance: one class for all" in output and max(map(len, output.splitlines())) <= 100


def test_list_shows_missing_records_and_computes_nothing(board, tmp_path):
    board("--entries", "two-full", "--seeds", "1")
    result = json.loads(board("--list", "--seeds", "2", "--json").out)
    by_name = {one["name"]: one for one in result["entries"]}
    assert set(by_name) == {entry.name for entry in ENTRIES}
    assert (by_name["two-full"]["seeds"], by_name["two-full"]["missing"]) == ([0], [1])
    assert (by_name["two-conv"]["seeds"], by_name["two-conv"]["missing"]) == ([], [0, 1])
    assert "packed_counts" not in json.dumps(result) and result["records"][0]["parameters"] == 48_403
    assert len(list((tmp_path / "records").iterdir())) == 1
    lines = board("--list", "--entries", "two-full", "--seeds", "2").out.split("\n")
    assert any(line.split() == ["two-full", "perceptron", "0", "1"] for line in lines)


def test_options_that_differ_from_those_of_a_record_are_refused(board):
    board("--entries", "two-full", "--seeds", "1")
    output = board("--entries", "two-full", "--seeds", "1", "--audit-images", "9", code=2).err
    assert "two-full-seed0.json was computed with audit_images None, now 9; give the same options" in output


def test_bad_names_and_corrupt_records(board, tmp_path):
    output = board("--entries", "two-ful", code=2).err
    assert "unknown entry of the leaderboard 'two-ful': did you mean 'two-full'?" in output
    for arguments, name in ((("--seeds", "0"), "seeds"), (("--audit-images", "0"), "audit_images")):
        assert f"{name} must be an integer of at least 1, got 0" in board(*arguments, code=2).err
    board("--entries", "two-full", "--seeds", "1")
    path = tmp_path / "records" / "two-full-seed0.json"
    path.write_text(path.read_text()[:99])
    output = board("--entries", "two-full", "--seeds", "1", code=3).err
    assert "two-full-seed0.json is not a valid record of the leaderboard" in output and output.count("\n") == 1


def test_the_page_is_generated_from_the_records(board, tmp_path):
    begin, end = markers("leaderboard")
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    details = "\n".join(markers("leaderboard-details"))
    page.write_text(f"before\n{begin}\nold text\n{end}\nafter\n{details}\n")
    output = board("--table", "docs/page.md", code=2).err
    assert "there are no records to show" in output and "old text" in page.read_text()
    board("--entries", "two-full", "two-full-recenter", "--seeds", "2")
    assert board("--table", "docs/page.md").out.splitlines()[-1] == "docs/page.md"
    text = page.read_text()
    assert text.startswith(f"before\n{begin}\n") and f"{end}\nafter\n" in text and "old text" not in text
    rows = [line for line in text.splitlines() if line.startswith("| perceptron")]
    assert len(rows) == 2 * (1 + 3) and "| 33.3 |" in text
    assert (tmp_path / "docs" / "images" / "leaderboard.png").stat().st_size > 5_000
    board("--table", "docs/page.md")
    assert page.read_text() == text
    page.write_text("no markers")
    assert "must contain the markers" in board("--table", "docs/page.md", code=2).err
    assert "cannot read docs/none.md" in board("--table", "docs/none.md", code=3).err


def test_entries_have_unique_names_and_share_trainings():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert {entry.repair for entry in ENTRIES if entry.repair} == set(METHODS)
    for model, repairs in REPAIRS.items():
        assert {f"{model}-{repair}" for repair in repairs} <= set(names)
        assert {entry.training for entry in ENTRIES if entry.model == model and not entry.centered} == {model}
    assert len(entries_named(())) == len(ENTRIES)
    assert LeaderboardSettings(entries=("two-conv",)).seeds == 3


def test_every_listed_repair_can_be_applied():
    for model, repairs in REPAIRS.items():
        net = build_model(model, canvas=CANVAS, classes=3).eval()
        pixels = torch.rand(2, 1, *CANVAS, generator=torch.Generator().manual_seed(0))
        for method in repairs:
            outputs = use_one_pass(repair(net, (1, *CANVAS), method=method)).eval()(pixels)
            assert outputs.shape == (2, 3) and np.isfinite(outputs.detach().numpy()).all()


def test_the_figure_of_the_page_does_not_replace_another_image(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Path(__file__).parents[3] / "benchmarks" / "results" / "leaderboard"
    for folder in ("records", "images"):
        Path(folder).mkdir()
    shutil.copy(source / "two-full-seed0.json", "records")
    Path("images/leaderboard.png").write_text("mine")
    Path("page.md").write_text("\n".join([*markers("leaderboard"), *markers("leaderboard-details")]))
    line = ["--results", "records", "--table", "page.md"]
    assert main(line) == 2 and "leaderboard.png already exists, and page.md does not show it" in capsys.readouterr().err
    assert Path("images/leaderboard.png").read_text() == "mine"
    Path("images/leaderboard.png").unlink()
    assert main(line) == 0 and main(line) == 0  # its own figure is replaced
