"""`shiftscope data`, on synthetic garments and on fakes."""

import json
from pathlib import Path

import pytest

from shiftscope.cli import main


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_list(capsys):
    assert main(["data", "list"]) == 0
    table = capsys.readouterr().out
    for name in ("garments", "fashion-mnist", "folder:PATH", "npz:FILE", "packed:PATH"):
        assert f"  {name} " in table
    assert main(["data", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 2
    assert {"name", "description", "license", "found"} <= set(document["datasets"][0])


def test_info(capsys):
    assert main(["data", "info", "garments:20,10", "--limit", "15", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema_version"], document["train_images"], document["test_images"]) == (2, 15, 10)
    assert main(["data", "info", "garments:20,10", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    table = " ".join(said.out.split())
    assert "train images 20" in table and "Trouser: 2, " in table and "synthetic yes" in table


def test_fetch(capsys, monkeypatch):
    import shiftscope.data

    def fetch(name, folder, progress):
        return [folder / name / "a.gz", folder / name / "b.gz"]

    monkeypatch.setattr(shiftscope.data, "fetch_dataset", fetch)
    files = [str(Path("here/fashion-mnist") / name) for name in ("a.gz", "b.gz")]
    assert main(["data", "fetch", "fashion-mnist", "--data-dir", "here"]) == 0
    assert capsys.readouterr().out.splitlines() == files
    assert main(["data", "fetch", "fashion-mnist", "--data-dir", "here", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 2, "name": "fashion-mnist", "files": files}


def test_pack(capsys, tmp_path):
    assert main(["data", "pack", "garments:20,10", "--quiet"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("garments.pack\n", "")
    assert main(["data", "pack", "packed:garments.pack", "--out", "b/again.pack", "--license", "CC0", "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert (document["schema_version"], document["path"], document["license"]) == (2, "b/again.pack", "CC0")
    assert (document["train_images"], document["test_images"], document["shape"]) == (20, 10, [1, 28, 28])
    assert document["bytes"] == sum(file.stat().st_size for file in Path("b/again.pack").iterdir())
    assert "pack garments: 100 %" in said.err
    assert main(["data", "info", "packed:b/again.pack", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["name"], info["license"], info["synthetic"]) == ("garments", "CC0", True)
    assert info["checksums"] == document["checksums"]


def test_pack_a_folder(capsys, tmp_path):
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (8, 6), (k, 9, 9)).save(tmp_path / "pets" / name / f"{k}.png")
    line = ["data", "pack", "folder:pets", "--image-size", "4x5", "--workers", "2", "--json", "--quiet"]
    assert main(line) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [3, 4, 5]
    assert main(line) == 2
    assert "pets.pack exists already: choose another folder with --out, or remove it" in capsys.readouterr().err
    assert main(["data", "pack", "folder:pets", "--image-size", "no"]) == 2
    assert "image-size must be one size in pixels or height x width" in capsys.readouterr().err
    Path("pets/cat/3.png").write_text("hello")
    assert main([*line, "--out", "new.pack"]) == 3
    assert "cat/3.png is not a readable image" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["pets", "pets.pack"]


def test_train_on_a_packed_file(capsys):
    assert main(["data", "pack", "garments:60,20", "--quiet"]) == 0
    line = ["train", "two-full", "--data", "packed:garments.pack", "--epochs", "1", "--json", "--quiet"]
    capsys.readouterr()
    assert main(line) == 0
    assert json.loads(capsys.readouterr().out)["train_images"] == 48
    assert main(["evaluate", "shiftscope-train/two-full", "--data", "packed:garments.pack", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 20


@pytest.mark.parametrize("line, code", [
    (["info", "garmets"], 2), (["fetch", "garmets"], 2), (["info", "npz:nowhere.npz"], 3), (["pack", "garmets"], 2),
    (["info", "packed:nowhere.pack"], 3), (["pack", "packed:nowhere.pack"], 3), (["pack", "npz:nowhere.npz"], 3),
    (["pack", "garments", "--image-size", "5"], 2), (["fetch", "packed:x"], 2)])
def test_unknown_datasets_and_missing_files_are_refused(capsys, line, code):
    assert main(["data", *line]) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
