"""`shiftscope data`, on drawn garments and on fakes."""

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
    for name in ("garments", "fashion-mnist", "folder:PATH", "npz:FILE"):
        assert f"  {name} " in table
    assert main(["data", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert {"name", "description", "licence", "found"} <= set(document["datasets"][0])


def test_info(capsys):
    assert main(["data", "info", "garments:20,10", "--limit", "15", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema_version"], document["train_images"], document["test_images"]) == (1, 15, 10)
    assert main(["data", "info", "garments:20,10", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    table = " ".join(said.out.split())
    assert "train images 20" in table and "Trouser: 2, " in table and "drawn yes" in table


def test_fetch(capsys, monkeypatch):
    import shiftscope.data

    def fetch(name, folder, progress):
        return [folder / name / "a.gz", folder / name / "b.gz"]

    monkeypatch.setattr(shiftscope.data, "fetch_dataset", fetch)
    files = [str(Path("here/fashion-mnist") / name) for name in ("a.gz", "b.gz")]
    assert main(["data", "fetch", "fashion-mnist", "--data-dir", "here"]) == 0
    assert capsys.readouterr().out.splitlines() == files
    assert main(["data", "fetch", "fashion-mnist", "--data-dir", "here", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "name": "fashion-mnist", "files": files}


@pytest.mark.parametrize("line, code", [(["info", "garmets"], 2), (["fetch", "garmets"], 2),
                                        (["info", "npz:nowhere.npz"], 3)])
def test_what_is_not_there(capsys, line, code):
    assert main(["data", *line]) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
