"""Mode fill from the command line to the files: training, audits, reports, records and their reading."""

import json

import numpy as np
import pytest
import torch

from shiftscope.cli import main
from shiftscope.geometry import Geometry
from shiftscope.models import load
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Audit
from shiftscope.settings import DataSettings
from shiftscope.workflows.load_images import open_data
from shiftscope.workflows.load_inputs import add_data, open_checkpoint, stored_placement

QUIET = SilentProgress()


@pytest.fixture(scope="module")
def trained(npz, tmp_path_factory):
    """A run on images of 12 x 12 that were filled with their edge and shifted by up to 2 pixels."""
    out = tmp_path_factory.mktemp("fill") / "run"
    line = ["run", "--models", "two-full", "--epochs", "2", "--data", f"npz:{npz}", "--mode", "fill", "--fill", "edge"]
    assert main([*line, "--max-shift", "2", "--device", "cpu", "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture
def photographs(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 65, 70, 3), dtype=np.uint8)
    labels = np.arange(4) % 2
    np.savez(tmp_path / "photos.npz", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels,
             class_names=np.array(["cat", "dog"]))
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef net():\n    torch.manual_seed(0)\n"
        "    head = nn.Linear(48, 2, bias=False)\n    head.weight.data -= head.weight.data.mean(1, keepdim=True)\n"
        "    return nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), head)\n", "utf-8")
    return tmp_path


def by_padding(model, images, offsets, fill, margin, **values):
    """Predictions (N, P) of a loop over slices of images that NumPy has padded."""
    padded = np.pad(images, ((0, 0), (0, 0), (margin,) * 2, (margin,) * 2), mode=fill, **values)
    h, w = images.shape[2:]
    rows = [padded[:, :, margin - dy:margin - dy + h, margin - dx:margin - dx + w] for dy, dx in offsets.tolist()]
    with torch.no_grad():
        return np.stack([model(torch.from_numpy(part.copy()).float() / 255).argmax(1).numpy() for part in rows], 1)


def test_a_run_trains_audits_and_reports_the_filled_images(trained, npz):
    found = Audit.load(trained / "results" / "two-full-seed0" / "audit")
    assert (found.mode, found.geometry.fill, found.placements, found.geometry.max_shift) == ("fill", "edge", 25, 2)
    assert found.rows.tolist() == [-2, -1, 0, 1, 2]
    with np.load(npz) as stored:
        images = stored["test_images"][:, None]
    model = load(trained / "checkpoints" / "two-full-seed0").eval()
    assert (found.predictions == by_padding(model, images, found.offsets, "edge", 2)).all()
    assert len(np.unique(found.predictions)) == 3 and found.middle_accuracy > 0.5
    page = (trained / "report.html").read_text("utf-8")
    assert "mode fill (edge)" in page and '"fill":"edge"' in page


def test_a_checkpoint_keeps_fill_and_largest_shift(trained, npz, capsys):
    loaded = open_checkpoint(trained / "checkpoints" / "two-full-seed0")
    place = add_data(loaded, {"data": f"npz:{npz}"}, QUIET).placement
    assert place == Placement(image=(12, 12), canvas=(12, 12), mode="fill", fill="edge", max_shift=2)
    place = add_data(loaded, {"data": f"npz:{npz}", "fill": "reflect"}, QUIET).placement
    assert (place.fill, place.geometry.max_shift) == ("reflect", 1)
    assert add_data(loaded, {"data": f"npz:{npz}", "mode": "circular"}, QUIET).placement.fill is None
    line = ["audit", str(trained / "checkpoints" / "two-full-seed0"), "--data", f"npz:{npz}", "--json"]
    for more, count, fill in (([], 25, "edge"), (["--max-shift", "4"], 81, "edge"),
                              (["--fill", "constant"], 9, "constant")):
        assert main([*line, *more]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (document["placements"], document["placement"]["fill"]) == (count, fill)


def test_a_model_trained_on_unshifted_images_is_evaluated_at_shifts():
    place = Placement(image=(16, 20), canvas=(16, 20), mode="fill", fill="reflect")
    assert stored_placement(place.center_only().to_dict(), 1) == place.narrowed(max_shift=2)


@pytest.mark.parametrize(("more", "fill", "margin", "words"), [
    ([], "reflect", 8, "uncovered sides show the mirrored image (fill reflect)"),
    (["--fill", "edge", "--max-shift", "2"], "edge", 2, ""),
    (["--fill", "constant", "--max-shift", "2"], "constant", 2, "fill='reflect' (--fill reflect) avoids")])
def test_photographs_are_reflected_unless_told_otherwise(more, fill, margin, words, photographs, monkeypatch, capsys):
    monkeypatch.chdir(photographs)
    monkeypatch.syspath_prepend(str(photographs))
    line = ["audit", "nets:net", "--data", "npz:photos.npz", "--mode", "fill", *more]
    assert main([*line, "--out", "out", "--quiet"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"mode fill ({fill}), at most {margin} pixels from the middle" in output
    found = Audit.load("out")
    assert found.geometry.fill == fill and found.placements == (2 * margin + 1) ** 2
    assert words in " ".join(found.notes) and ("uncovered" in " ".join(found.notes)) == bool(words)
    with np.load("photos.npz") as stored:
        images = stored["test_images"].transpose(0, 3, 1, 2)
    import nets
    predictions = by_padding(nets.net().eval(), images, found.offsets, fill, margin)
    assert (found.predictions != predictions).sum() <= found.ties and len(np.unique(predictions)) == 2


def test_other_images_are_filled_with_the_background(npz):
    _, place = open_data(DataSettings(data=f"npz:{npz}", mode="fill", background=30), QUIET)
    assert place.geometry == Geometry(image=(12, 12), canvas=(12, 12), mode="fill", background=30, max_shift=1)
    assert place.fill == "constant" and DataSettings().canvas == (56, 56)


@pytest.mark.parametrize(("more", "problem"), [
    (["--mode", "fill", "--canvas", "13"], "mode fill needs an image of the size of the canvas: the image is 12 x 12"),
    (["--mode", "fill", "--max-shift", "12"], "max_shift must be at most 11 in mode fill"),
    (["--mode", "fill", "--fill", "reflect", "--max-shift", "99"], "max_shift must be at most 11 in mode fill"),
    (["--mode", "fill", "--max-shift=-1"], "max_shift must be an integer of at least 0, got -1"),
    (["--mode", "fill", "--background", "texture"], "background must be a pixel value from 0 to 255 in mode fill"),
    (["--fill", "edge"], "fill must be None in mode canvas, because only mode fill (--mode fill) fills pixels"),
    (["--mode", "fill", "--fill", "wrap"], "--fill")])
def test_invalid_values_are_refused_before_training(more, problem, npz, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "two-full", "--data", f"npz:{npz}", "--quiet", *more]) == 2
    assert problem in " ".join(capsys.readouterr().err.split()) and not list(tmp_path.iterdir())


def test_repairs_claim_nothing_in_mode_fill(trained, npz, tmp_path, capsys):
    line = ["repair", str(trained / "checkpoints" / "two-full-seed0"), "--data", f"npz:{npz}", "--method", "recenter"]
    assert main([*line, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    output = capsys.readouterr()
    text = " ".join((output.out + output.err).split())
    assert "mode fill" in text and "exactly invariant" not in text
