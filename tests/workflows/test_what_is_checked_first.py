"""Names of models are checked before images are read, sizes of pictures before they are decoded."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from shiftscope.cli import main
from shiftscope.data import from_arrays, load_dataset
from shiftscope.data.packing import from_dataset, pack
from shiftscope.errors import UsageError
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.workflows.use_checkpoint import evaluate_checkpoint, fit_images, predict_files

PLACE = Placement(image=(4, 6), canvas=(8, 8))
CAFE = unicodedata.normalize("NFC", "café")


class Notes(SilentProgress):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHIFTSCOPE_DATA_DIR", raising=False)


def checkpoint(path, class_names):
    net = TwoFullNet(3, canvas=PLACE.canvas, classes=len(class_names), mean=0.0, std=1.0).eval()
    return save(net, path, provenance=Provenance(name="net", dataset="folder:pets", class_names=list(class_names),
                                                 placement=PLACE.to_dict(), trained="random"))


def pets(root, names=("cat", "dog"), size=(6, 4)):
    for level, name in enumerate(names):
        for k in range(2):
            path = root / name / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", size, 50 * level + k).save(path)


@pytest.mark.parametrize("line", [
    ["train", "two-ful"], ["run", "--models", "two-full,two-ful"]])
def test_an_unknown_model_is_reported_before_data_are_read(line, capsys, tmp_path):
    assert main([*line, "--data", "folder:missing", "--out", "out"]) == 2
    assert "error: unknown model 'two-ful': did you mean 'two-full'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("line", "code", "problem"), [
    (["audit", "no_such_module:Net"], 2, "cannot import 'no_such_module' for 'no_such_module:Net'"),
    (["audit", "math:pi"], 2, "'math:pi' must be an nn.Module, or a class or function that returns one"),
    (["audit", "ready", "--against", "no_such_module:Net"], 2, "cannot import 'no_such_module' for"),
    (["audit", "ready", "--against", "missing"], 3, "no checkpoint at missing"),
    (["audit", "torch.nn:Identity", "--against", "missing"], 3, "no checkpoint at missing"),
])
def test_an_audit_checks_both_names_before_data_are_read(line, code, problem, capsys, tmp_path):
    checkpoint(tmp_path / "ready", ["cat", "dog"])
    assert main([*line, "--data", "folder:missing"]) == code
    assert problem in capsys.readouterr().err


PROBLEMS = {"crop": "mode crop needs an image at least as large",
            "--max-shift": "max_shift must be at most 4 in mode fill",
            "fill": "mode fill needs an image of the size of the canvas"}


@pytest.mark.parametrize("line", [["train", "two-full", "--canvas", "5x6"], ["run", "--canvas", "5x6"],
                                  ["evaluate", "ready", "--canvas", "5x6", "--image-size", "5", "7"],
                                  ["audit", "ready", "--mode", "crop"], ["audit", "ready", "--mode", "fill"],
                                  ["train", "two-full", "--mode", "fill", "--canvas", "9"],
                                  ["train", "two-full", "--mode", "fill", "--max-shift", "5"],
                                  ["audit", "torch.nn:Identity", "--canvas", "5x6"]])
def test_images_that_do_not_fit_are_not_decoded(line, capsys, tmp_path, monkeypatch):
    pets(tmp_path / "pets", size=(7, 5))
    checkpoint(tmp_path / "ready", ["cat", "dog"])
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    assert main([*line, "--data", "folder:pets"]) == 2
    output = capsys.readouterr().err
    problem = next((text for word, text in PROBLEMS.items() if word in line), "the image does not fit: it is 5 x 7")
    assert problem in output


def test_notes_about_a_folder_are_shown(capsys, tmp_path):
    pets(tmp_path / "pets")
    (tmp_path / "pets" / "cat" / "list.csv").write_text("x")
    note = "ignored in pets: 1 file(s) that are neither PNG nor JPEG (cat/list.csv)"
    assert main(["data", "info", "folder:pets"]) == 0
    output = capsys.readouterr()
    assert note in " ".join(output.err.split()) and note in " ".join(output.out.split())
    assert main(["data", "pack", "folder:pets"]) == 0
    assert note in " ".join(capsys.readouterr().err.split())
    received = Notes()
    assert load_dataset("folder:pets", progress=received).notes == (note,) and received.notes == [note]


def test_class_names_match_in_any_unicode_spelling(tmp_path):
    decomposed = unicodedata.normalize("NFD", CAFE)
    pets(tmp_path / "pets", names=("bar", decomposed))
    for number, name in enumerate((CAFE, decomposed)):
        stored = checkpoint(tmp_path / str(number), ["bar", name])
        assert evaluate_checkpoint(stored, {"data": "folder:pets"}, progress=SilentProgress()).images == 2
    images = np.zeros((4, 4, 6), np.uint8)
    packed = pack(from_dataset(from_arrays(images, [0, 1] * 2, images, [0, 1] * 2, ["bar", decomposed])), "a.pack").path
    assert evaluate_checkpoint(tmp_path / "1", {"data": f"packed:{packed}"}, progress=SilentProgress()).images == 4


def test_the_message_about_other_classes_is_short(tmp_path):
    stored = checkpoint(tmp_path / "net", [f"a very long name of a class, number {k}" for k in range(1000)])
    pets(tmp_path / "pets")
    with pytest.raises(UsageError, match="the dataset has 2 classes; 2 of 2 match no output: cat, dog") as raised:
        evaluate_checkpoint(stored, {"data": "folder:pets"}, progress=SilentProgress())
    assert len(str(raised.value)) < 400
    with pytest.raises(UsageError, match=r"the dataset pets has cat, dog \(in another order\): choose the dataset"):
        evaluate_checkpoint(checkpoint(tmp_path / "b", ["dog", "cat"]), {"data": "folder:pets"},
                            progress=SilentProgress())


def test_files_of_one_prediction_share_a_bit_depth(tmp_path):
    from shiftscope.workflows.load_inputs import open_checkpoint

    ramp = np.linspace(0, 200, 24).astype(np.uint16).reshape(4, 6)
    paths = [tmp_path / "dark.png", tmp_path / "bright.png"]
    for path, factor in zip(paths, (1, 16), strict=True):
        Image.fromarray(ramp * factor).save(path)
    received, trained = Notes(), open_checkpoint(checkpoint(tmp_path / "net", ["cat", "dog"]), device="cpu")
    pixels, _ = fit_images(paths, trained, received)
    for found, factor in zip(pixels[:, 0].numpy(), (1, 16), strict=True):
        assert np.array_equal(found, np.floor(ramp.astype(float) * factor * 255 / 4095 + 0.5))
    assert received.notes == ["the largest value of the 16-bit images is 3,200: they are read as 12-bit data, 0 to "
                              "4,095, and scaled to 8 bits"]
    assert len(predict_files(tmp_path / "net", paths, device="cpu")) == 2
