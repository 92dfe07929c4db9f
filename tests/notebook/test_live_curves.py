"""Progress and curves of `shiftscope.train`, on a terminal and in notebooks."""

import io
import re
import sys
from types import SimpleNamespace

import matplotlib
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope import TrainSettings, progress
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import UsageError
from shiftscope.notebook.display import mimebundle
from shiftscope.reporting import live_curves

PLACE = shiftscope.Placement(image=(6, 5), canvas=(9, 9))


@pytest.fixture(scope="module")
def data() -> Dataset:
    images = torch.randint(0, 256, (60, 1, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = TensorImages(images, torch.arange(60) % 3)
    return Dataset(name="noise", class_names=("a", "b", "c"), train=images, test=images, source="-", license="-")


def train(data: Dataset, epochs: int = 3, **options):
    settings = TrainSettings(epochs=epochs, batch_size=20, **options.pop("settings", {}))
    return shiftscope.train(nn.Sequential(nn.Flatten(), nn.Linear(81, 3)), data, placement=PLACE, settings=settings,
                            name="net", **options)


class Screen(list):
    """Keeps the contents shown in each part of the output."""

    def display(self, content, *, raw, display_id):
        place = [content]
        self.append(place)
        return SimpleNamespace(update=lambda content, raw: place.append(content))


@pytest.fixture
def screen(monkeypatch) -> Screen:
    """A stand-in for a notebook with a backend that shows figures, in cell 7."""
    display = pytest.importorskip("IPython.display", reason="needs IPython: pip install shiftscope[notebook]")
    seen = Screen()
    monkeypatch.setattr(display, "display", seen.display)
    monkeypatch.setattr(progress, "in_kernel", lambda: True)
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "nbagg")
    monkeypatch.setattr(live_curves, "execution_count", lambda: seen.cell)
    seen.cell = 7
    return seen


def test_training_shows_a_line_and_curves(screen, data):
    result = train(data)
    line, chart = screen
    assert line[0]["text/plain"].startswith("train net: 0 %") and "images/s" in line[-1]["text/plain"]
    assert line[-1]["text/plain"].startswith("train net: 100 %  epoch 3  loss ")
    assert [shown["text/plain"].split(" after ")[1][:12] for shown in chart] == [
        "epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]
    assert len({shown["image/png"] for shown in chart}) == 3
    last = f"{100 * result.history[-1]['val_accuracy']:.1f} %"
    assert chart[-1]["text/plain"].startswith(f"net: validation accuracy {last} after")


def test_curves_hold_the_values_of_the_history():
    history = [{"epoch": epoch, "train_loss": 2 / epoch, "train_accuracy": epoch / 10, "val_accuracy": value}
               for epoch, value in ((1, 0.15), (2, None), (3, 0.35))]
    loss, accuracy = live_curves.curves("net", history, 5, "validation", 12.0).axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[1, 2], [2, 1], [3, 2 / 3]]]
    assert [line.get_xydata().tolist() for line in accuracy.lines] == [
        [[1, 10], [2, 20], [3, pytest.approx(30)]], [[1, 15], [3, 35]]]
    assert accuracy.get_xlim() == (0.5, 5.5)
    alone = live_curves.curves("net", [history[1]], 5, "validation", 12.0)
    assert len(alone.axes[1].lines) == 1 and "net: training accuracy 20.0" in alone.texts[0].get_text()


def test_without_validation_images_the_title_has_the_training_accuracy(screen, data):
    train(data, settings={"validation": 0})
    assert screen[1][-1]["text/plain"].startswith("net: training accuracy")


def test_fast_epochs_are_not_all_drawn_but_the_last_is(screen, data, monkeypatch):
    monkeypatch.setattr(live_curves, "FREE_SECONDS", 0.0)
    monkeypatch.setattr(live_curves, "FRACTION", 0.0)
    train(data, epochs=6)
    assert ["epoch 1 of 6" in screen[1][0]["text/plain"], "epoch 6 of 6" in screen[1][-1]["text/plain"]] == [True, True]
    assert len(screen[1]) == 2


def test_the_figure_is_not_repeated_in_the_same_cell(screen, data):
    result = train(data)
    assert set(mimebundle(result)[0]) == {"text/plain"}
    screen.cell = 8
    assert "image/png" in mimebundle(result)[0]


@pytest.mark.parametrize("off", [False, None])
def test_progress_can_be_turned_off(screen, data, off):
    train(data, progress=off)
    assert screen == []


def test_nothing_is_shown_under_agg(screen, data, monkeypatch, capsys):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    train(data)
    assert screen == [] and capsys.readouterr() == ("", "")


def test_a_notebook_that_the_caller_asks_for_has_curves_too(screen, data):
    train(data, progress=progress.default_progress())
    assert len(screen) == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_training_shows_a_bar_on_a_terminal_and_nothing_in_a_pipe(data, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train(data, progress=False)
    assert terminal.getvalue() == ""
    train(data)
    assert "train net" in terminal.getvalue() and "epoch 3  loss" in terminal.getvalue()
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    train(data)
    assert pipe.getvalue() == "" and capsys.readouterr().out == ""
    train(data, progress=progress.default_progress())
    assert pipe.getvalue().startswith("train net: 100 %")


@pytest.mark.parametrize("columns, rate, bar", [(80, False, False), (105, True, False), (140, True, True)])
def test_a_narrow_terminal_shows_all_values(data, monkeypatch, columns, rate, bar):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", Terminal())
    train(data)
    text = sys.stderr.getvalue()
    assert re.search(r"epoch 3  loss \d\.\d{3}  accuracy \d+\.\d %  val accuracy \d+\.\d %", text) and "100%" in text
    assert ("images/s" in text, "━" in text, "…" in text) == (rate, bar, False)


@pytest.mark.parametrize("value", ["yes", 1, 0, object])
def test_other_values_of_progress_are_refused(data, value):
    with pytest.raises(UsageError, match="progress must be True, False, or an object with the methods task and note"):
        train(data, progress=value)


CELLS = ("import torch, shiftscope\nfrom torch import nn\n"
         "data = shiftscope.load_dataset('garments').limit(60)\n"
         "place = shiftscope.Placement(image=(28, 28), canvas=(30, 30))\n"
         "model = nn.Sequential(nn.Flatten(), nn.Linear(900, 10))\n"
         "settings = shiftscope.TrainSettings(epochs=3, batch_size=20)",
         "shiftscope.train(model, data, placement=place, settings=settings)",
         "result = shiftscope.train(model, data, placement=place, settings=settings, progress=False)",
         "audit = shiftscope.audit(model, data, placement=place)\nprint(audit)\n[audit]")


def test_in_a_real_kernel(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel")
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, shown, silent, printed = notebook.cells
    line, chart, text = shown.outputs
    assert line.data["text/plain"].startswith("train Sequential: 100 %") and "image/png" in chart.data
    assert "after epoch 3 of 3" in chart.data["text/plain"]
    assert set(text.data) == {"text/plain"} and text.data["text/plain"].startswith("Training of Sequential")
    assert silent.outputs == []
    text, listed = printed.outputs
    assert text.text.startswith("Audit of Sequential on garments") and text.text.count("\n") <= 5
    assert listed.data["text/plain"].startswith("[<Audit of Sequential") and "\n" not in listed.data["text/plain"]
