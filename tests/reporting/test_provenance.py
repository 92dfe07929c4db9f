"""How a report was made: each item once, no path of the machine, and the images that were trained on."""

import dataclasses

import pytest

from shiftscope.evaluation.notes import few_images_notes
from shiftscope.reporting import ReportData, render_report
from shiftscope.reporting.provenance import doubts, made, without_folders

ENVIRONMENT = {
    "schema_version": 2, "command": ["shiftscope", "run", "--data", "folder:/home/ada/my cups", "--out=/tmp/x/run"],
    "seed": 3, "device": "cpu", "dataset": {"name": "cups", "checksums": {"train": "abc"}},
    "settings": {"data": {"data": "folder:/home/ada/cups", "data_dir": "/data/dir", "limit": None, "mode": "canvas"},
                 "run": {"models": ["net"], "out": "/tmp/x/run", "seed": 3, "resume": False, "epochs": 4}},
    "versions": {"torch": "2.13", "numpy": "2.4"}}
DATASET = {"name": "cups", "train_images": 60, "test_images": 9, "checksums": {"train": "abc"},
           "source": "image files in /home/ada/cups, converted"}


@pytest.mark.parametrize("text, short", [
    ("/home/ada/run", "run"), ("--out=/home/ada/run/", "--out=run"), ("folder:/a/b", "folder:b"),
    ("npz:C:\\Users\\ada\\x.npz", "npz:x.npz"), ("D:/data/x", "x"), ("~/data/x.npz", "x.npz"),
    ("in '/home/ada/a b'", "in 'a b'"), ("see https://example.org/a/b", "see https://example.org/a/b"),
    ("T-shirt/top, 3/4 or images/s", "T-shirt/top, 3/4 or images/s"), ("results/net", "results/net"), ("", "")])
def test_absolute_paths_become_names(text, short):
    assert without_folders(text) == short


def test_each_item_is_there_once_without_paths(make_training):
    training = make_training(notes=["micro-batches of 125 images", "micro-batches of 125 images"])
    facts = made(DATASET, ENVIRONMENT, [training, dataclasses.replace(training, seed=1)], ["A remark."])
    names, texts = [name for name, _ in facts], " ".join(f"{name} {value}" for name, value in facts)
    assert len(set(facts)) == len(facts) and len(set(names)) == len(names) - 1  # two notes
    assert "/home" not in texts and "/tmp" not in texts and "ada" not in texts and "schema" not in texts
    assert texts.count("abc") == 1 and texts.count("cups") == 3  # name, source, command
    values = dict(facts)
    assert values["training images"] == "100 (validation: 20)" and values["test images"] == "9"
    assert values["versions"] == "torch 2.13, numpy 2.4" and values["setting epochs"] == "4" and values["seed"] == "3"
    notes = [value for name, value in facts if name == "note"]
    assert notes == ["perceptron: micro-batches of 125 images", "A remark."]


def test_reports_of_several_runs_have_the_settings_of_each():
    facts = made(DATASET, {"a": ENVIRONMENT, "b": ENVIRONMENT | {"seed": 4}}, [])
    assert [value for name, value in facts if name.endswith("seed")] == ["3", "4"]
    assert not any("/tmp" in value for _, value in facts)


def test_doubts_are_those_about_results(make_training, make_evaluation, make_audit):
    training = make_training(notes=["micro-batches of 125 images"], settings={"epochs": 5})
    note, few = "all outputs are equal", few_images_notes(12)
    results = [make_audit(notes=[note]), make_audit(model="two-conv", notes=[note])]
    found = doubts(["/home/ada/run is not finished."], [training], [make_evaluation(notes=[note, *few])], results)
    assert found == ["run is not finished.", "The training of the perceptron ended after 3 of 5 epochs.",
                     f"perceptron; convnet: {note}"]
    assert doubts([], [make_training(notes=["x"])], [make_evaluation(split="train", notes=["y"])], []) == []


def test_a_note_on_training_is_below_how_this_was_made(make_training):
    html = render_report(ReportData(title="x", dataset=DATASET, training=[make_training(notes=["micro-batches of 9"])]))
    assert html.index("How this was made</h2>") < html.index("micro-batches of 9") and "<h3>Notes" not in html
