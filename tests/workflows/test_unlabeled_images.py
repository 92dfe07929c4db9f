"""Commands on images without labels, and on datasets with fewer classes than a model has outputs."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shiftscope.auditing import audit
from shiftscope.auditing.sampled_statistics import sampled_figures_of
from shiftscope.cli import main
from shiftscope.data import from_images, load_dataset
from shiftscope.evaluation import evaluate
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.results import Audit, Evaluation

PLACE = Placement(image=(12, 12), canvas=(16, 15))
NAMES = [f"name {k}" for k in range(120)]


def net() -> nn.Module:
    """A random model with 120 outputs."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(16 * 15, 30), nn.ReLU(), nn.Linear(30, 120)).eval()


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 12, 12), dtype=np.uint8)


def write(folder, *files: str) -> None:
    for seed, file in enumerate(files):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(1, seed)[0]).save(path)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_net.py").write_text("from shiftscope.testing_nets import net\n")
    monkeypatch.setitem(sys.modules, "shiftscope.testing_nets", sys.modules[__name__])
    yield
    sys.modules.pop("own_net", None)


@pytest.fixture
def checkpoint(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = TwoFullNet(5, canvas=PLACE.canvas, classes=3, mean=0.0, std=1.0)
    return str(save(model, tmp_path / "reader", provenance=Provenance(
        name="reader", dataset="npz:bars.npz", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict(),
        trained="random")))


AUDIT = ["audit", "own_net:net", "--canvas", "16x15", "--quiet", "--json"]


# ---------------------------------------------------------------------- images without labels


@pytest.mark.parametrize(("files", "others"), [
    (["b.png", "a.jpg"], ["notes.txt", "empty/notes.txt"]),
    (["test/b.png", "test/a.png"], ["readme.md"]),
    (["val/b.png", "val/a.png"], []),
])
def test_folders_without_labels(tmp_path, files, others, capsys):
    write(tmp_path / "photos", *files)
    for other in others:
        (tmp_path / "photos" / other).parent.mkdir(exist_ok=True)
        (tmp_path / "photos" / other).write_text("x")
    assert main([*AUDIT, "--data", "folder:photos"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labeled"] is False and found["mean_accuracy"] is None and found["accuracy_map"] is None
    assert found["image_names"] == sorted(files, key=lambda name: name.rsplit("/")[-1]) and found["images"] == 2
    same = audit(net(), load_dataset("folder:photos"), placement=PLACE)
    assert found["consistency"] == pytest.approx(same.consistency)
    assert np.allclose(found["agreement_map"], same.agreement_map)


@pytest.mark.parametrize("folder", ["photos", "photos/test", "photos/val"])
def test_class_folders_with_one_image_each(tmp_path, folder, capsys):
    write(tmp_path / folder, "5/a.png", "7/b.png", "119/c.png")
    assert main([*AUDIT, "--data", "folder:photos"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labeled"] is True and found["images"] == 3 and found["top5_accuracy"] is not None
    assert [index for index, value in enumerate(found["per_class"]) if value is not None] == [5, 7, 119]


@pytest.mark.parametrize("make", [
    lambda: noise(4), lambda: noise(4) / np.float32(255), lambda: torch.from_numpy(noise(4))[:, None],
    lambda: list(noise(4)), lambda: iter(noise(4)), lambda: (Image.fromarray(image) for image in noise(4)),
    lambda: [Image.fromarray(image) for image in noise(4)],
], ids=["uint8", "float", "tensor", "list", "iterator", "generator of PIL images", "PIL images"])
def test_images_in_memory_have_one_audit(make):
    found, expected = audit(net(), make(), placement=PLACE), audit(net(), from_images(noise(4)), placement=PLACE)
    assert not found.labeled and (found.predictions == expected.predictions).all() and found.image_names == []


def test_a_broken_image_is_named(tmp_path, capsys):
    write(tmp_path / "photos", "a.png")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    assert main([*AUDIT, "--data", "folder:photos"]) == 3
    said = capsys.readouterr().err
    assert "broken.jpg" in said and said.count("\n") == 1 and len(said) < 400


def test_the_table_lists_the_least_stable_images(tmp_path, capsys):
    write(tmp_path / "photos", *(f"{k}.png" for k in range(9)))
    assert main([*AUDIT[:-1], "--data", "folder:photos", "--out", "found"]) == 0
    said = capsys.readouterr().out
    found = Audit.load(tmp_path / "found")
    least = found.image_names[found.least_stable()[0]]
    assert "least stable images" in said and least in said and "accuracy" not in said.split("own_net:net: ")[0]
    assert "the images have no labels: accuracies are not computed" in said
    assert (tmp_path / "found" / "agreement-map.png").is_file()
    assert not (tmp_path / "found" / "accuracy-map.png").exists()


def test_a_sample_of_placements_without_labels():
    data = from_images(noise(30))
    exact, found = audit(net(), data, placement=PLACE), audit(net(), data, placement=PLACE, sample=9)
    expected = sampled_figures_of(found.predictions, found.labels, 120, found.offsets.tolist().index([2, 1]), 20)
    assert found.sampled and found.consistency == expected["consistency"] and np.isnan(found.mean_accuracy)
    low, high = found.intervals["consistency"]
    assert low <= exact.consistency <= high and found.intervals["unanimity"][0] == 0
    assert set(expected["intervals"]) == {"consistency", "unanimity"} and "mean_accuracy" not in expected


def test_top5_accuracy_of_a_sample_is_an_estimate_for_all_placements():
    data = from_images(noise(40), list(range(40)), NAMES[:40])
    exact, found = (audit(net(), data, placement=PLACE, output_names=NAMES, sample=sample) for sample in (None, 10))
    low, high = found.intervals["top5_accuracy"]
    assert low < found.top5_accuracy < high and low <= exact.top5_accuracy <= high
    middle = found.offsets.tolist().index([2, 1])
    hits = found.top5_counts  # of 10 placements; the middle one is one of 20, the others stand for 19
    with torch.no_grad():
        canvases = PLACE.place(data.test.gather(torch.arange(40)), torch.tensor([[2, 1]]).expand(40, 2)) / 255
        centered = (net()(canvases).topk(5, dim=1).indices == torch.arange(40)[:, None]).any(1).numpy()
    assert middle >= 0 and found.top5_accuracy == pytest.approx(
        np.mean(centered / 20 + 19 / 20 * (hits - centered) / 9))


@pytest.mark.parametrize(("line", "words"), [
    (["audit", "own_net:net", "--fail-under", "mean=0.9"], "--fail-under mean=0.9 needs labels"),
    (["audit", "own_net:net", "--fail-under", "consistency=0,worst=0.5"], "--fail-under worst=0.5 needs labels"),
    (["audit", "own_net:net", "--expected", "0.9"], "the check of an expected accuracy needs labels"),
    (["audit", "own_net:net", "--split", "train"], "has no training images"),
    (["audit", "own_net:net", "--class-map", "map.json"], "a class map needs classes"),
    (["evaluate", "own_net:net"], "evaluation needs labels"),
    (["evaluate", "own_net:net", "--class-map", "map.json"], "evaluation needs labels"),
    (["train", "two-full"], "training needs labels"),
    (["run", "--models", "two-full"], "training needs labels"),
])
def test_what_needs_labels_says_so(tmp_path, line, words, capsys):
    write(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "map.json").write_text('{"cat": 3}')
    before = sorted(tmp_path.rglob("*"))
    code = main([*line, "--data", "folder:photos", "--canvas", "16x15", "--quiet"])
    said = capsys.readouterr().err
    assert code in (2, 3) and words in said and said.startswith("error: ") and said.count("\n") == 1
    assert len(said) < 400 and [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(path)] == [
        path for path in before if "__pycache__" not in str(path)]


def test_thresholds_that_need_no_labels(tmp_path, capsys):
    write(tmp_path / "photos", "a.png", "b.png")
    assert main([*AUDIT, "--data", "folder:photos", "--fail-under", "consistency=0.01"]) == 0
    assert main([*AUDIT, "--data", "folder:photos", "--fail-under", "unanimity=1.0"]) in (0, 4)
    capsys.readouterr()


def test_checkpoints_and_images_without_labels(tmp_path, checkpoint, capsys):
    write(tmp_path / "photos", "a.png", "b.png")
    assert main(["audit", checkpoint, "--data", "folder:photos", "--quiet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["class_names"] == ["top", "middle", "bottom"] and found["labeled"] is False
    line = ["repair", checkpoint, "--method", "recenter", "--data", "folder:photos", "--quiet"]
    assert main([*line, "--out", "new", "--finetune", "1"]) == 3
    assert "fine-tuning needs labels, and the images of photos have none" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    assert main([*line, "--out", "new"]) == 0
    assert "accuracy" not in capsys.readouterr().out


# ---------------------------------------------------------------------- fewer classes than outputs


@pytest.mark.parametrize(("name", "text"), [
    ("map.json", '{"cat": 5, "dog": 7}'), ("map.csv", "class,output\ncat,5\ndog,7\n")])
def test_a_class_map_in_a_file(tmp_path, name, text, capsys):
    write(tmp_path / "pets" / "test", "cat/a.png", "cat/b.png", "dog/c.png")
    (tmp_path / name).write_text(text)
    assert main([*AUDIT, "--data", "folder:pets", "--class-map", name]) == 0
    found = json.loads(capsys.readouterr().out)
    data = load_dataset("folder:pets")
    expected = audit(net(), data, placement=PLACE, class_map={"cat": 5, "dog": 7})
    assert found["mean_accuracy"] == expected.mean_accuracy and found["top5_accuracy"] == expected.top5_accuracy
    assert (found["class_names"][5], found["class_names"][7], found["class_names"][8]) == ("cat", "dog", "output 8")
    assert any("cat = 5, dog = 7" in note for note in found["notes"])
    assert main(["evaluate", "own_net:net", "--data", "folder:pets", "--canvas", "16x15", "--class-map", name,
                 "--quiet", "--out", "found"]) == 0
    said = capsys.readouterr().out
    assert "all classes, top 5" in said and "output 8" not in said and "cat = 5, dog = 7" in said
    assert sorted(set(Evaluation.load(tmp_path / "found").labels.tolist())) == [5, 7]


@pytest.mark.parametrize("command", ["audit", "evaluate"])
@pytest.mark.parametrize(("text", "words"), [
    (None, "2 of 2 match no output: cat, dog"),
    ('{"cat": 5}', "1 of 2 match no output: dog"),
    ('{"cat": 5, "dgo": 7}', "classes that the dataset lacks, dgo"),
    ('{"cat": 5, "dog": 120}', "the output of 'dog' in the class map is 120, expected an index from 0 to 119"),
    ('{"cat": 5, "dog": 5}', "cat, dog match the same output 5"),
    ('{"cat": 5, "dog": "poodle"}', "'poodle' of 'dog' in the class map is not the name of an output"),
    ('[5, 7]', "the class map map.json is invalid"),
])
def test_class_maps_that_are_refused(tmp_path, command, text, words, capsys):
    write(tmp_path / "pets" / "test", "cat/a.png", "dog/c.png")
    if text is not None:
        (tmp_path / "map.json").write_text(text)
    line = [command, "own_net:net", "--data", "folder:pets", "--canvas", "16x15", "--quiet"]
    code = main([*line, *(["--class-map", "map.json"] if text is not None else [])])
    said = capsys.readouterr().err
    assert code in (2, 3) and words in said and said.startswith("error: ") and said.count("\n") == 1
    assert len(said) < 400


def test_a_checkpoint_on_some_of_its_classes(tmp_path, checkpoint, capsys):
    write(tmp_path / "bars" / "test", "Bottom/a.png", "top/b.png")
    write(tmp_path / "other" / "test", "low/a.png", "top/b.png")
    (tmp_path / "map.csv").write_text("low,bottom\n")
    documents = []
    for more in (["--data", "folder:bars"], ["--data", "folder:other", "--class-map", "map.csv"]):
        for command in ("audit", "evaluate"):
            assert main([command, checkpoint, *more, "--quiet", "--json"]) == 0
            documents.append(json.loads(capsys.readouterr().out))
    assert documents[0]["mean_accuracy"] == documents[2]["mean_accuracy"] and len(documents[0]["per_class"]) == 3
    assert documents[1]["accuracy"] == documents[3]["accuracy"] and documents[1]["top5_accuracy"] == {}


def test_evaluation_with_fewer_classes_against_a_loop():
    names = [NAMES[9], NAMES[70], NAMES[3]]
    data, truth = from_images(noise(30), [0, 1, 2] * 10, names), torch.tensor([9, 70, 3] * 10)
    found = evaluate(net(), data, placement=PLACE, output_names=NAMES, seed=4)
    offsets = {"random": PLACE.sample(torch.arange(30), seed=4), "centered": torch.tensor([[2, 1]]).expand(30, 2)}
    for name, where in offsets.items():
        with torch.no_grad():
            outputs = torch.cat([net()(PLACE.place(data.test.gather(torch.tensor([k])), where[k:k + 1]) / 255)
                                 for k in range(30)])
        ranks = (outputs > outputs.gather(1, truth[:, None])).sum(1)
        assert found.accuracy[name] == pytest.approx((ranks == 0).double().mean().item())
        assert found.top5_accuracy[name] == pytest.approx((ranks < 5).double().mean().item())
    assert found.labels.tolist() == truth.tolist() and found.confusion.shape == (120, 120)
    assert "top-5 accuracy" in str(found)


# ---------------------------------------------------------------------- continued audits


@pytest.fixture
def stop_after_one_round(monkeypatch):
    """Stop an audit after a round of 4 images."""
    from shiftscope.auditing import sweep
    from shiftscope.training.stopping import StopFlag

    def stop(line):
        with monkeypatch.context() as patch:
            flags, total = [], sweep.total
            patch.setattr(StopFlag, "__init__", lambda self: flags.append(self) or setattr(self, "signal", None))
            patch.setattr(sweep, "from_first", lambda make: 4)
            patch.setattr(sweep, "total", lambda values: (flags[0].ask(), total(values))[1])
            return main(line)
    return stop


def test_an_audit_without_labels_is_continued(tmp_path, stop_after_one_round, capsys):
    write(tmp_path / "photos", *(f"{k}.png" for k in range(11)))
    line = [*AUDIT, "--data", "folder:photos", "--engine", "brute"]
    assert stop_after_one_round([*line, "--out", "part"]) == 130
    assert Audit.load(tmp_path / "part").images == 4
    assert main([*line, "--out", "part", "--resume"]) == 0 and main([*line, "--out", "whole"]) == 0
    found, whole = (Audit.load(tmp_path / name) for name in ("part", "whole"))
    assert not found.partial and not found.labeled and found.image_names == whole.image_names
    assert (found.predictions == whole.predictions).all()
    for name in ("top_margins", "confidences", "agreement_map"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-5, atol=1e-6)
    capsys.readouterr()


def test_the_class_map_of_a_continued_audit_must_be_the_same(tmp_path, stop_after_one_round, capsys):
    write(tmp_path / "pets" / "test", *(f"{kind}/{k}.png" for kind in ("cat", "dog") for k in range(5)))
    (tmp_path / "map.csv").write_text("cat,5\ndog,7\n")
    line = [*AUDIT, "--data", "folder:pets", "--class-map", "map.csv", "--engine", "brute", "--out", "part"]
    assert stop_after_one_round(line) == 130
    capsys.readouterr()
    (tmp_path / "map.csv").write_text("cat,5\ndog,8\n")
    assert main([*line, "--resume"]) == 2
    assert "holds an unfinished audit with another class map: {'cat': 5, 'dog': 7}, now {'cat': 5, 'dog': 8}" in (
        capsys.readouterr().err)
    (tmp_path / "map.csv").write_text("dog,7\ncat,5\n")
    assert main([*line, "--resume"]) == 0
    found = Audit.load(tmp_path / "part")
    expected = audit(net(), load_dataset("folder:pets"), placement=PLACE, class_map={"cat": 5, "dog": 7})
    assert (found.top5_counts == expected.top5_counts).all() and found.mean_accuracy == expected.mean_accuracy
