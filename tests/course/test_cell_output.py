"""What appears in a notebook: seen by a stand-in for IPython's display, and by a real kernel."""

import struct
from types import SimpleNamespace

import matplotlib
import pytest
from matplotlib import pyplot as plt

from shiftscope import progress


class Screen:
    """Keeps every content shown, a list for each place."""

    def __init__(self):
        self.places = []

    def display(self, content, *, raw, display_id):
        assert raw and display_id
        place = [content]
        self.places.append(place)
        return SimpleNamespace(update=lambda content, raw: place.append(content))


@pytest.fixture
def screen(monkeypatch) -> Screen:
    display = pytest.importorskip("IPython.display", reason="needs IPython: pip install shiftscope[notebook]")
    seen = Screen()
    monkeypatch.setattr(display, "display", seen.display)
    monkeypatch.setattr(progress, "in_kernel", lambda: True)
    return seen


def size_of(png: bytes) -> tuple[int, int]:
    return struct.unpack(">II", png[16:24])


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nbagg",
                                     "module://ipympl.backend_nbagg"])
def test_curves_are_updated_in_place(small, make_net, screen, monkeypatch, backend):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: backend)
    small.args.epochs = 3
    small.evaluate_model(make_net())
    line, chart, gallery = screen.places
    assert [content["text/plain"].split("after ")[1][:12] for content in chart] == [
        "epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]
    assert len({content["image/png"] for content in chart}) == 3
    assert len({size_of(content["image/png"]) for content in chart}) == 1  # else the page would jump
    assert line[0]["text/plain"].startswith("Net: 0 %")
    assert "Net: 100 %  epoch 3  loss" in line[-1]["text/plain"]
    assert "used" in line[-1]["text/plain"]
    assert len(gallery) == 1
    assert "Predictions of Net" in gallery[0]["text/plain"]


@pytest.mark.parametrize("backend", ["agg", "Agg", "svg"])
def test_nothing_is_displayed_under_agg(small, make_net, screen, monkeypatch, capsys, backend):
    monkeypatch.setattr(matplotlib, "get_backend", lambda: backend)
    small.evaluate_model(make_net())
    small.display_classified_images(make_net())
    assert screen.places == []
    assert plt.get_fignums() == []
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_is_noted(small, make_net, screen, monkeypatch):
    class Raising(list):
        def __iter__(self):
            yield self[0]
            raise KeyboardInterrupt

    monkeypatch.setattr(matplotlib, "get_backend", lambda: "nbagg")
    small.train_loader = Raising(list(small.train_loader))
    small.evaluate_model(make_net())
    assert screen.places[-1] == [{"text/plain": "Interrupted; the history holds 0 of 2 epochs"}]


def test_a_script_shows_lines_and_no_window(small, make_net, capsys):
    small.evaluate_model(make_net())
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Net: 100 %  epoch 2" in shown.err
    assert plt.get_fignums() == []


CELLS = ("""
import torch
from torch import nn
import shiftscope.model_utils as MU
images, labels = torch.randn(60, 1, 8, 8), torch.arange(60) % 3
MU.imgsize = (8, 8)
MU.args.epochs = 3
MU.train_loader = MU.test_loader = [(images, labels)] * 4
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
""", "history = MU.evaluate_model(model)", "%matplotlib agg\nhistory = MU.evaluate_model(model)",
         "%matplotlib inline\nMU.show(MU.generate_image(model, target_class=1))")


def test_in_a_real_kernel_curves_are_updated_in_one_output(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel")
    import nbformat

    class Watching(nbclient.NotebookClient):
        updates = 0

        def process_message(self, msg, cell, cell_index):
            Watching.updates += msg["msg_type"] == "update_display_data" and "image/png" in msg["content"]["data"]
            return super().process_message(msg, cell, cell_index)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    Watching(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    _, live_cell, silent, shown = notebook.cells
    assert ["image/png" in output.data for output in live_cell.outputs] == [False, True, True]
    assert "after epoch 3 of 3" in live_cell.outputs[1].data["text/plain"]
    assert Watching.updates == 2
    assert silent.outputs == []
    assert ["image/png" in output.data for output in shown.outputs] == [True]
