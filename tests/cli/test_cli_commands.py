"""What each command hands to its workflow and what it shows."""

import json
from pathlib import Path

import pytest

from shiftscope.cli import main
from shiftscope.progress import LineProgress, SilentProgress


def test_run(workflows, capsys):
    line = ["run", "--data", "fashion-mnist", "--out", "a folder"]
    assert main(line) == 0
    (name, (data, run), keywords), = workflows.calls
    assert (name, data.data, run.out) == ("run_models", "fashion-mnist", Path("a folder"))
    assert keywords["command"] == ["shiftscope", *line]
    assert isinstance(keywords["progress"], LineProgress)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == str(Path("a folder/report.html"))
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert "two-full random 61.2 % 87.5 % 3" in rows
    assert "two-full centered 25.0 % ± 1.2 90.0 % ± 2.0 7" in rows


def test_a_run_ended_by_its_time_limit_shows_finished_results_and_returns_0(workflows, capsys, monkeypatch):
    monkeypatch.setitem(workflows.metrics, "paused", "the run paused after 10:00")
    assert main(["run", "--max-time", "10m", "--out", "here"]) == 0
    assert workflows.calls[0][1][1].max_time == 600
    shown = capsys.readouterr().out
    assert "61.2 %" in shown and shown.splitlines()[-1] == str(Path("here/metrics.json"))
    monkeypatch.setitem(workflows.metrics, "models", [])
    monkeypatch.setitem(workflows.metrics, "controls", [])
    assert main(["run", "--max-time", "1s", "--out", "here"]) == 0
    assert capsys.readouterr().out == str(Path("here/metrics.json")) + "\n"
    assert main(["run", "--max-time", "soon"]) == 2
    assert "max-time must be a time above 0 as in 90s, 10m or 1.5h, got 'soon'" in capsys.readouterr().err


def test_a_long_path_is_not_wrapped(workflows, capsys):
    folder = "x" * 300
    assert main(["run", "--out", folder]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(Path(folder) / "report.html")


def test_quiet_shows_no_progress(workflows):
    assert main(["run", "--quiet"]) == 0
    assert isinstance(workflows.calls[0][2]["progress"], SilentProgress)


def test_train(workflows, capsys):
    assert main(["train", "two-full", "--epochs", "2", "--optimizer", "sgd", "--resume", "--no-channels-last"]) == 0
    (name, (model, data, training), keywords), = workflows.calls
    assert (name, model, data.data) == ("train_one", "two-full", "garments")
    assert (training.epochs, training.optimizer, training.channels_last) == (2, "sgd", False)
    assert (keywords["resume"], keywords["overwrite"]) == (True, False)
    assert keywords["out"] == Path("shiftscope-train/two-full")
    assert capsys.readouterr().out == str(Path("shiftscope-train/two-full/checkpoints/two-full-seed0")) + "\n"


def test_the_default_folder_of_train_has_the_name_of_the_model(workflows):
    assert main(["train", "my.nets:Net"]) == 0
    assert workflows.calls[0][2]["out"] == Path("shiftscope-train/my.nets-Net")


def test_evaluate(workflows, capsys):
    assert main(["evaluate", "ckpt", "--split", "train", "--out", "figures", "--allow-code", "a:B"]) == 0
    (name, (folder, data), keywords), = workflows.calls
    assert (name, folder, data) == ("evaluate_checkpoint", "ckpt", {})
    assert (keywords["split"], keywords["out"]) == ("train", Path("figures"))
    assert keywords["loading"]["allow_code"] == "a:B"
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "figures"
    assert "Accuracy of two-full on 8 test images of garments" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["Bag", "75.0", "%", "100.0", "%"] in rows and "Coat" not in shown  # a class without images
    assert "two-full: of 8 images" in shown


def test_evaluate_passes_on_only_the_options_that_are_set(workflows):
    assert main(["evaluate", "ckpt", "--limit", "5"]) == 0
    assert main(["evaluate", "ckpt", "--data", "garments", "--canvas", "50"]) == 0
    handed = [arguments[1] for _, arguments, _ in workflows.calls]
    assert handed == [{"limit": 5}, {"data": "garments", "canvas": (50, 50)}]


@pytest.mark.parametrize("value, size", [(["48", "64"], (48, 64)), (["48x64"], (48, 64)), (["56"], (56, 56))])
def test_image_size_and_resizing(workflows, value, size):
    for command, where in ((["evaluate", "ckpt"], 1), (["train", "two-full"], 1), (["run"], 0)):
        workflows.calls.clear()
        assert main([*command, "--data", "folder:x", "--image-size", *value, "--resize", "stretch"]) == 0
        data = workflows.calls[0][1][where]
        found = data if isinstance(data, dict) else vars(data)
        assert (found["image_size"], found["resize"]) == (size, "stretch")
    assert main(["evaluate", "ckpt"]) == 0
    assert workflows.calls[-1][1][1] == {}  # that of the checkpoint


@pytest.mark.parametrize("values, problem", [
    (["0", "8"], "image-size must be one size in pixels or height x width, as in 56 or 48x64, got '0x8'"),
    (["-3", "8"], "image-size must be one size"), (["8.5"], "image-size must be one size"),
    (["8x9x7"], "image-size must be one size"), (["1" * 12], "image-size must be one size"),
    (["8", "9", "net"], "image-size must be one or two numbers, got 3 values, the last one 'net': write the other"),
    ([], "--image-size requires at least 1 element")])
def test_invalid_image_sizes(workflows, capsys, values, problem):
    assert main(["evaluate", "ckpt", "--data", "folder:x", "--image-size", *values]) == 2
    assert problem in " ".join(capsys.readouterr().err.split())
    assert not workflows.calls


def test_predict(workflows, capsys):
    assert main(["predict", "ckpt", "a[1].png", "b.png", "--offset", "3", "4"]) == 0
    (_, (folder, images), keywords), = workflows.calls
    assert (folder, images) == ("ckpt", [Path("a[1].png"), Path("b.png")])
    assert keywords["offset"] == (3, 4) and not keywords["everywhere"] and not keywords["overwrite"]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a[1].png", "Bag", "75.0", "%", "3,", "4"] in rows


@pytest.mark.parametrize("line, expected", [
    (["run"], None),
    (["train", "two-full"], {"schema_version": 1, "epochs": 2}),
    (["evaluate", "ckpt"], {"schema_version": 1, "images": 8, "confusion": [[3, 1], [0, 4]],
                            "confusion_centered": [[3, 1], [0, 4]]}),
    (["predict", "ckpt", "a.png"], {"schema_version": 2, "predictions": [
        {"file": "a[1].png", "offset": [3, 4], "class": "Bag", "confidence": 0.75,
         "scores": {"Bag": 0.75, "Coat": 0.25}}]}),
])
def test_json_is_the_only_thing_on_standard_output(workflows, capsys, line, expected):
    workflows.chatter = "a model that prints\n"
    assert main([*line, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == (expected or workflows.metrics)
    assert said.err == workflows.chatter


def test_nonfinite_numbers_are_null(capsys):
    from shiftscope.cli.output import write_document

    write_document({"loss": float("nan"), "class": "Mütze"})
    said = capsys.readouterr().out
    assert said.isascii() and json.loads(said) == {"loss": None, "class": "Mütze"}


@pytest.mark.parametrize("line, message", [
    ([], None),
    (["trian"], 'Unknown command "trian". Did you mean "train"?'),
    (["run", "--epocs", "3"], "Unknown option: --epocs. Did you mean --epochs? (see: shiftscope run --help)"),
    (["run", "--epochs", "x"], 'unable to convert "x" into int'),
    (["run", "--epochs"], "--epochs requires an argument"),
    (["run", "two-full"], "unexpected argument 'two-full'. (see: shiftscope run --help)"),
    (["run", "--seeds", "0"], "seeds must be an integer of at least 1, got 0"),
    (["train", "two-full", "--schedule", "warm"], "one-cycle"),
    (["train", "two-full", "--resume", "--overwrite"], "resume and overwrite must be not both given"),
    (["train"], "MODEL requires an argument"),
    (["data", "fetch"], "NAME requires an argument. (see: shiftscope data fetch --help)"),
    (["evaluate", "ckpt", "--split", "tset"], '"tset"'),
    (["mend", "ckpt"], "the command mend is now called repair: see shiftscope repair --help"),
    (["repair", "ckpt", "--how", "blur"], "the option --how is now called --method: replace --how with --method"),
    (["repair", "ckpt", "--how=blur"], "the option --how is now called --method"),
])
def test_usage_errors(workflows, capsys, line, message):
    assert main(line) == (2 if message else 0)
    said = capsys.readouterr()
    if message:
        assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
        assert message in said.err
    assert not workflows.calls
