"""A notebook in JupyterLab, as a person sees it: the cells are run from the page, in a real browser."""

import json
from collections.abc import Iterator

import pytest

from .lab import (
    CHROMIUM,
    Lab,
    code_cell,
    jupyter_lab_in_chromium,
    nbformat,
    notebook_of,
    run_all,
    run_cell,
    wait_for_output,
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]

CELLS = ("""%matplotlib inline
import torch
from pathlib import Path
from matplotlib import pyplot as plt
from torch.utils.data import DataLoader, TensorDataset
import shiftscope
import shiftscope.model_utils as MU
from shiftscope.models import build_model

garments = shiftscope.load_dataset("garments").limit(200)
place = shiftscope.Placement(image=(28, 28), canvas=(40, 36))

def moved(split):
    indices = torch.arange(len(split))
    canvases = place.place(split.gather(indices), place.sample(indices, seed=0))
    return DataLoader(TensorDataset(canvases.float() / 255, split.labels), batch_size=50)

MU.imgsize, MU.class_names, MU.args.epochs = (40, 36), garments.class_names, 3
MU.train_loader, MU.test_loader = moved(garments.train), moved(garments.test)
model = build_model("two-full", canvas=(40, 36), classes=garments.classes, N=16, seed=0)""",
         "history = MU.evaluate_model(model)",
         "%matplotlib agg\nhistory = MU.evaluate_model(model)\nMU.display_classified_images(model)",
         "print('figures', plt.get_fignums(), 'files', [path.name for path in Path().rglob('*.png')])")

WATCH = """() => {
    window.seen = [];
    const look = () => {
        const cell = document.querySelectorAll('.jp-CodeCell')[1];
        const outputs = cell.querySelectorAll('.jp-OutputArea-child').length;
        const pictures = [...cell.querySelectorAll('.jp-OutputArea-output img')].map(image => image.src);
        const now = JSON.stringify([outputs, pictures]);
        if (now !== window.seen.at(-1)) window.seen.push(now);
    };
    new MutationObserver(look).observe(document.querySelector('.jp-Notebook'),
        {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
}"""
"""Keeps what the second code cell shows: how many outputs, and its pictures, at each change of the page."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("jupyterlab") / "work"
    folder.mkdir()
    with jupyter_lab_in_chromium(folder) as lab:
        yield lab


def test_curves_update_in_one_output_and_agg_shows_nothing(lab):
    with lab.opened(notebook_of(CELLS)) as page:
        page.evaluate(WATCH)
        run_all(page)
        printed = wait_for_output(page, 3)
        page.wait_for_function("JSON.parse(window.seen.at(-1))[1].length == 2")
        shown = [cell.locator(".jp-OutputArea-child").count() for cell in page.locator(".jp-CodeCell").all()]
        seen = [json.loads(moment) for moment in page.evaluate("window.seen")]

    outputs, pictures = zip(*seen, strict=True)
    curves = [picture for picture, *_ in filter(None, pictures)]
    assert outputs == (0, 1, 2, 2, 2, 3)  # nothing; a line; and curves, in one output for three epochs; and the gallery
    assert len(set(curves[:3])) == 3  # another picture after each epoch
    assert curves[3] == curves[2]  # which stays when the gallery comes
    assert shown == [0, 3, 0, 1]  # under Agg nothing
    assert printed == "figures [] files []"


EXPLORE = ("""import json
import shiftscope
from shiftscope.models import build_model

data = shiftscope.load_dataset("garments").limit(40)
place = shiftscope.Placement(image=(28, 28), canvas=(40, 36))
model = build_model("two-full", canvas=(40, 36), classes=data.classes, N=8, seed=0)
audit = shiftscope.audit(model, data, placement=place)
audit""",
           "widget, moves = audit.widget(), []\nwidget.observe(lambda change: moves.append(change.new), 'dx')\nwidget",
           "print(json.dumps([widget.image, widget.dy, widget.dx, widget.predictions[0]['prediction'], moves]))",
           "if moves:\n    widget.image, widget.dy, widget.dx = 3, 12, 1")


def in_python(page):
    """Run the third cell: (image, dy, dx, answer, the observed values of dx)."""
    run_cell(page, 2)
    return json.loads(wait_for_output(page, 2))


def in_browser(page):
    """(image, dy, dx, answer) as the widget in the second cell shows them, with the marker of its map."""
    cell = code_cell(page, 1)
    dy, dx = divmod(int(cell.locator(".ss-stage").get_attribute("aria-valuenow")) - 1, 9)
    marker = cell.locator(".ss-marker").first
    assert marker.evaluate("node => [node.style.top, node.style.left].map(parseFloat)") == pytest.approx(
        [100 * dy / 13, 100 * dx / 9], abs=0.01)
    return [cell.locator("input:checked").evaluate("node => [...node.closest('.ss-images').querySelectorAll('input')]"
                                                   ".indexOf(node)"), dy, dx,
            cell.locator(".ss-prediction strong").inner_text()]


def drag(page, stage, pixel, *offsets):
    """Drag from the middle of the canvas by each offset (down, right), in pixels of the canvas."""
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for down, right in offsets:
        page.mouse.move(x + right * pixel, y + down * pixel)
    page.mouse.up()


def test_widget_and_python_are_synchronized(lab):
    """13 x 9 placements, the middle one is (6, 4)."""
    errors = []
    with lab.opened(notebook_of(EXPLORE)) as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        run_all(page)
        page.frame_locator("iframe[sandbox=allow-scripts]").locator("[data-ready=true] .ss-stage").wait_for()
        stage = code_cell(page, 1).locator(".ss-stage")
        stage.wait_for(timeout=20_000)
        moments = [(in_browser(page), json.loads(wait_for_output(page, 2)))]
        drag(page, stage, stage.bounding_box()["width"] / 36, (-2, 1), (-5, 3))
        moments.append((in_browser(page), in_python(page)))
        stage.focus()
        for key in ("ArrowLeft", "ArrowDown", "ArrowDown", "Shift+ArrowDown"):
            page.keyboard.press(key)
        moments.append((in_browser(page), in_python(page)))
        run_cell(page, 3)
        code_cell(page, 1).locator(".ss-stage[aria-valuenow='110']").wait_for()
        moments.append((in_browser(page), in_python(page)))

    assert [python[:3] for _, python in moments] == [[0, 6, 4], [0, 1, 7], [0, 7, 6], [3, 12, 1]]
    for browser, python in moments:
        assert browser == python[:4]
    assert moments[-1][1][4][-3:] == [7, 6, 1]  # the changes of dx that were observed
    assert errors == []


def test_untrusted_notebook_shows_the_figure(lab, results):
    notebook = notebook_of(("audit",))
    data, metadata = results["audit"]._repr_mimebundle_()
    notebook.cells[0].outputs = [nbformat.v4.new_output("execute_result", data, metadata=metadata, execution_count=1)]
    with lab.opened(notebook) as page:
        picture = code_cell(page, 0).locator(".jp-OutputArea-output img")
        picture.wait_for()
        shown = picture.evaluate("image => image.complete && image.naturalWidth > 0"), picture.get_attribute("alt")
        words, frames = code_cell(page, 0).locator(".jp-OutputArea-output").inner_text(), page.locator("iframe").count()
    assert shown[0] and str(shown[1]).startswith("Accuracy by position: perceptron") and frames == 0
    assert words.startswith("Audit of two-full on garments")
