"""`shiftscope lessons`: copies keep files of others, and a class folder works without a network."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from shiftscope.cli import main
from shiftscope.data import dataset_catalog
from shiftscope.workflows import copy_lessons, pack_lessons
from shiftscope.workflows.lessons import Lesson, cells, read_lessons, sources

PHOTOGRAPHS = next(entry["found"] for entry in dataset_catalog() if entry["name"] == "fashion-mnist")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_listing_and_copying_do_not_import_torch():
    code = ("import sys; from shiftscope.cli import main; assert main(['lessons', '--copy', 'mine']) == 0; "
            "assert main(['lessons']) == 0; sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_list(capsys):
    assert main(["lessons"]) == 0
    table = capsys.readouterr().out
    assert "1 Random placements" in table and "min reading" in table
    assert main(["lessons", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["lessons"]
    assert [lesson["title"][0] for lesson in listed] == list("123456")
    assert listed[5] == {"name": "6_audit_and_repair", "title": "6 Audit and repair your own model",
                         "time": listed[5]["time"]}


def test_a_copy_has_notebooks_with_the_code_of_the_lessons(capsys):
    assert main(["lessons", "--copy", "a/mine"]) == 0
    assert capsys.readouterr().out == "a/mine\n"
    files = content(Path("a/mine"))
    lessons = read_lessons(sources().lessons)
    checkpoints = {f"checkpoints/{name}/{part}" for name in ("two-full", "two-conv")
                   for part in ("config.json", "model.safetensors")}
    notebooks = {f"{lesson.name}.ipynb" for lesson in lessons}
    assert files.keys() == notebooks | checkpoints | {"lesson_setting.py", "README.md"}
    for lesson in lessons:
        notebook = json.loads(files[f"{lesson.name}.ipynb"])
        assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
        code = [cell["source"] for cell in cells(lesson.text) if cell["cell_type"] == "code"]
        assert [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"] == code
        assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")
        folded = [cell for cell in notebook["cells"] if cell["metadata"].get("jupyter") == {"source_hidden": True}]
        assert folded and all(cell["metadata"]["tags"] == ["hide-input"] for cell in folded)


def test_links_between_notebooks_name_notebooks():
    lesson = Lesson("5_x", "# %% [markdown]\n# # 5 X\n#\n# [next](6_y.py) and [page](../page.md), [module](other.py)\n")
    text = json.loads(copy_lessons.notebook_text(lesson, {"5_x", "6_y"}))["cells"][0]["source"]
    assert text.endswith("[next](6_y.ipynb) and page (in the documentation), [module](other.py)")


def test_a_second_copy_adds_what_is_missing_and_keeps_changed_notebooks(capsys):
    assert main(["lessons", "--copy", "mine"]) == 0
    changed = Path("mine/3_every_placement.ipynb")
    changed.write_text("my work")
    Path("mine/notes.txt").write_text("mine")
    Path("mine/README.md").write_text("my notes")
    before = content(Path("mine"))
    capsys.readouterr()
    assert main(["lessons", "--copy", "mine", "--solutions"]) == 0
    assert capsys.readouterr().out.splitlines() == ["mine", f"kept with your changes: {changed}"]
    after = content(Path("mine"))
    assert {name: after[name] for name in before} == before
    assert {name for name in after if name not in before} == {f"{number}_solutions.ipynb" for number in "123456"}


def refused(capsys, *arguments: str) -> str:
    before = content(Path())
    assert main(["lessons", *arguments]) == 2
    assert content(Path()) == before
    message = capsys.readouterr().err.strip()
    assert len(message) < 400 and "\n" not in message
    return message


def test_a_file_is_refused(capsys):
    Path("file").write_text("mine")
    assert "--copy file is a file; choose a folder" in refused(capsys, "--copy", "file")
    Path("dangling").symlink_to("nowhere")
    assert "--copy dangling is a file" in refused(capsys, "--copy", "dangling")


def test_a_folder_with_other_files_is_refused(capsys):
    Path("other").mkdir()
    Path("other/README.md").write_text("mine")
    assert "--copy other is not empty and contains no lessons" in refused(capsys, "--copy", "other")
    assert main(["lessons", "--copy", "empty/new"]) == 0


@pytest.mark.parametrize("name", ["lesson_setting.py", "checkpoints/two-full/config.json"])
def test_a_module_or_model_of_another_version_is_refused(capsys, name):
    assert main(["lessons", "--copy", "mine"]) == 0
    (Path("mine") / name).write_text("other")
    Path("mine/1_random_placements.ipynb").unlink()
    assert f"{Path('mine') / name} exists already and is not from this version" in refused(capsys, "--copy", "mine")


def test_links_are_not_followed(capsys):
    assert main(["lessons", "--copy", "mine"]) == 0
    Path("mine/checkpoints").rename("elsewhere")
    Path("mine/checkpoints").symlink_to("../elsewhere")
    assert "mine/checkpoints exists already" in refused(capsys, "--copy", "mine")
    Path("mine/checkpoints").unlink()
    Path("mine/lesson_setting.py").unlink()
    Path("mine/lesson_setting.py").symlink_to("../file")
    assert "mine/lesson_setting.py exists already" in refused(capsys, "--copy", "mine")
    assert not Path("file").exists()


def test_options_that_do_not_fit_together_are_refused(capsys):
    assert "--copy and --pack cannot be combined" in refused(capsys, "--copy", "a", "--pack", "b")
    assert "--solutions is an option of --copy and --pack" in refused(capsys, "--solutions")
    Path("class.zip").write_text("mine")
    assert "--pack class.zip exists already" in refused(capsys, "--pack", "class.zip")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
def test_an_unreadable_folder_is_an_error(capsys):
    Path("locked").mkdir(mode=0)
    assert main(["lessons", "--copy", "locked"]) == 1
    assert "cannot read locked" in capsys.readouterr().err


@pytest.fixture
def short_run(monkeypatch):
    monkeypatch.setattr(pack_lessons, "IMAGES", 60)
    monkeypatch.setattr(pack_lessons, "AUDITED", 5)


@pytest.mark.slow
@pytest.mark.skipif(PHOTOGRAPHS is None, reason="needs the files of Fashion-MNIST")
def test_a_class_archive_works_offline_with_its_own_images(capsys, short_run, tmp_path):
    assert main(["lessons", "--pack", "class.zip", "--solutions", "--quiet", "--data-dir", PHOTOGRAPHS]) == 0
    assert capsys.readouterr().out == "class.zip\n"
    with zipfile.ZipFile("class.zip") as packed:
        packed.extractall()
    files = content(Path("class"))
    assert sum(name.startswith("data/fashion-mnist/") for name in files) == 4
    assert sum(name.endswith(".ipynb") for name in files) == 12
    assert b'content="Shiftscope"' in files["report.html"][:2000] and b"Fashion-MNIST" in files["report.html"]
    assert b"images are in `data`" in files["README.md"]
    assert copy_lessons.repository().encode() in files["README.md"]
    code = "from lesson_setting import *; d = choose_data(); print(d.name, len(d.train), trained_model('two-full', d))"
    offline = {name: value for name, value in os.environ.items() if not name.startswith("SHIFTSCOPE_")}
    offline |= {"XDG_CACHE_HOME": str(tmp_path / "none"), "MPLBACKEND": "agg", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], cwd="class/lessons", env=offline, capture_output=True,
                          text=True)
    assert done.stdout.startswith("fashion-mnist 60000 TwoFullNet("), done.stderr


@pytest.mark.slow
def test_a_class_folder_without_photographs_has_no_data(short_run, monkeypatch, tmp_path):
    from shiftscope.progress import SilentProgress

    monkeypatch.setattr(pack_lessons, "dataset_catalog", lambda folder: [{"name": "fashion-mnist", "found": None}])
    pack_lessons.pack_lessons(Path("class"), progress=SilentProgress())
    assert sorted(path.name for path in Path("class").iterdir()) == ["README.md", "lessons", "report.html"]
    assert "synthetic" in Path("class/README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["class"]
