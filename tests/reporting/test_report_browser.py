"""The report in a real browser, used with mouse and keyboard."""

import base64
import csv
import dataclasses
import io
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import shiftscope
from shiftscope.models import build_model
from shiftscope.placement import Placement
from shiftscope.reporting import (
    ReportData,
    ReportFigure,
    accuracy_map,
    control_cells,
    render_report,
    report_figure,
    training_curves,
    weight_grid,
)
from shiftscope.reporting.audit_grid import audit_title
from shiftscope.results import NONFINITE, Audit
from shiftscope.results.image_table import to_csv
from shiftscope.settings import TrainSettings
from shiftscope.visualization.attribution import attribute

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]

PLACE = Placement(image=(28, 28), canvas=(36, 40))
EVIL = "</script><img src=x onerror=document.title='hacked'>"


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run() -> ReportData:
    """Two models after two epochs, evaluated and audited, with correct and incorrect predictions."""
    garments = shiftscope.load_dataset("garments").limit(300)
    training, evaluations, audits = [], [], []
    for name, arguments in (("two-full", {"N": 16}), ("two-conv", {})):
        model = build_model(name, canvas=PLACE.canvas, seed=0, **arguments)
        training.append(shiftscope.train(model, garments, placement=PLACE, settings=TrainSettings(epochs=2)))
        evaluations.append(shiftscope.evaluate(model, garments, placement=PLACE, trained="random"))
        audits.append(shiftscope.audit(model, garments, placement=PLACE, limit=40, trained="random"))
    index = audits[1].shown_index[::2]
    offsets = PLACE.centered(len(index))
    maps = attribute(model, PLACE.place(garments.test.gather(torch.from_numpy(index)), offsets), steps=2,
                     labels=audits[1].labels[index], class_names=garments.class_names, name=audits[1].model)
    attributions = [dataclasses.replace(
        maps, dataset=audits[1].dataset, split="test", trained="random", placement=PLACE.to_dict(),
        index=index.tolist(), offsets=[PLACE.middle] * len(index))]
    figures = {f"map-{audit.model}": report_figure("audit", accuracy_map([audit]), "Accuracy.", audit_title(audit))
               for audit in audits}
    figures |= {f"weights-{audit.model}": report_figure("weights", weight_grid(np.ones((4, 5, 5)), title="w"),
                                                        "Weights.", audit_title(audit)) for audit in audits}
    figures["curves"] = report_figure("curves", training_curves(training), "Curves.")
    return ReportData(title="A report", dataset={"name": "garments", "synthetic": True}, training=training,
                      evaluations=evaluations, controls=control_cells(evaluations), audits=audits, figures=figures,
                      environment={"seed": 0}, attributions=attributions, image_rows=to_csv(audits))


@pytest.fixture(scope="module")
def report(run, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("a report") / "report.html"
    path.write_text(render_report(run), encoding="utf-8")
    return path


class Opened:
    """A page with its requests and console messages."""

    def __init__(self, browser, path: Path, **options):
        self.page = browser.new_context(**({"viewport": {"width": 1200, "height": 1000}} | options)).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            self.page.locator("html[data-views=ready]").wait_for()

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_) -> None:
        self.page.context.close()

    def predictions(self) -> list[str]:
        return [str(card.get_attribute("data-prediction")) for card in self.page.locator(".ss-card").all()]

    def offset(self) -> tuple[int, int]:
        found = re.search(r"dy (-?\d+) .*dx (-?\d+)", self.page.locator(".ss-where").inner_text())
        assert found is not None
        return int(found.group(1)), int(found.group(2))

    def image(self) -> int:
        """The number of the shown image."""
        found = re.search(r"image (\d+)", self.page.locator(".ss-where").inner_text())
        assert found is not None
        return int(found.group(1))

    def pixels(self) -> np.ndarray:
        """What the canvas shows, uint8 (3, H, W)."""
        return pixels_of(self.page.locator(".ss-canvas"))

    def stage(self) -> dict[str, float]:
        """Bounding box of the canvas."""
        self.page.locator(".ss-stage").scroll_into_view_if_needed()
        return self.page.locator(".ss-stage").bounding_box()

    def drag(self, down: int, right: int) -> None:
        """Drag the image by some pixels of the canvas, in two mouse moves."""
        box, mouse = self.stage(), self.page.mouse
        (dy, dx), scale = self.offset(), box["width"] / PLACE.canvas[1]
        x, y = box["x"] + (dx + 14) * scale, box["y"] + (dy + 14) * scale
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + right * scale / 2, y + down * scale / 2)
        mouse.move(x + right * scale, y + down * scale)
        mouse.up()


def pixels_of(canvas: "playwright.Locator") -> np.ndarray:
    """What a canvas holds, uint8 (3, H, W)."""
    _, _, data = canvas.evaluate("canvas => canvas.toDataURL('image/png')").partition(",")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).transpose(2, 0, 1)


@pytest.fixture
def opened(browser, report):
    with Opened(browser, report) as found:
        yield found


def predictions_at(audits: list[Audit], image: int, offset: tuple[int, int]) -> list[str]:
    place = [int(np.flatnonzero((audit.offsets == offset).all(axis=1))[0]) for audit in audits]
    return [str(audit.predictions[image, at]) for audit, at in zip(audits, place, strict=True)]


def test_shown_classes_match_the_audit_at_every_position(opened, run):
    draw, seen = random.Random(0), set()
    images = opened.page.locator(".ss-images .ss-row select option").count()
    for check in range(50):
        opened.page.locator(".ss-images .ss-row select").select_option(index=draw.randrange(images))
        dy, dx = draw.randrange(9), draw.randrange(13)
        before = opened.offset()
        if check % 2:
            opened.drag(dy - before[0], dx - before[1])
        else:
            opened.page.locator(".ss-stage").focus()
            for steps, keys in ((dy - before[0], ("Down", "Up")), (dx - before[1], ("Right", "Left"))):
                leaps, single = divmod(abs(steps), 4)
                for shift in ["Shift+"] * leaps + [""] * single:
                    opened.page.keyboard.press(f"{shift}Arrow{keys[steps < 0]}")
        assert opened.offset() == (dy, dx)
        assert opened.predictions() == predictions_at(run.audits, opened.image(), (dy, dx))
        seen.add((opened.image(), dy, dx, *opened.predictions()))
    assert len(seen) > 40 and len({predictions for *_, predictions, _ in seen}) > 3  # many positions and classes
    assert any(one != other for *_, one, other in seen)
    assert opened.complaints == [] and all(url.startswith(("file:", "data:")) for url in opened.requests)


def test_a_click_on_a_map_jumps_there_and_home_goes_back(opened, run):
    for number in (0, 1):  # the map of predictions, the map of accuracies
        place = opened.page.locator(".ss-map").nth(2 + number)
        box = place.bounding_box()
        place.click(position={"x": box["width"] * 12.5 / 13, "y": box["height"] * (1.5 + number) / 9})
        assert opened.offset() == (1 + number, 12)
        assert opened.predictions() == predictions_at(run.audits, opened.image(), (1 + number, 12))
    place.press("ArrowUp")
    assert opened.offset() == (1, 12)
    place.press("Home")
    assert opened.offset() == PLACE.middle
    marker = opened.page.locator(".ss-marker").first
    left, top = marker.evaluate("node => [parseFloat(node.style.left), parseFloat(node.style.top)]")
    assert (left, top) == pytest.approx((100 * 6 / 13, 100 * 4 / 9), abs=0.01)


def test_touch_drags_the_image(browser, report):
    with Opened(browser, report, has_touch=True) as opened:
        box = opened.stage()
        scale, touch = box["width"] / PLACE.canvas[1], opened.page.context.new_cdp_session(opened.page)
        for kind, moved in (("touchStart", 0), ("touchMove", 2), ("touchMove", 4), ("touchEnd", None)):
            points = [] if moved is None else [{"x": box["x"] + (20 + moved) * scale, "y": box["y"] + 18 * scale}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        assert opened.offset() == (4, 10)


def test_images_are_chosen_by_keys_and_kept_images_come_back(opened):
    page = opened.page
    first = opened.image()
    page.get_by_role("radio", name=re.compile(f"image {first}$")).focus()
    page.keyboard.press("ArrowRight")
    chosen = opened.image()
    assert chosen != first
    page.locator(".ss-stage").press("ArrowLeft")
    page.get_by_role("button", name="Keep").click()
    page.get_by_role("button", name="Next image").click()
    page.get_by_role("button", name="Center").click()
    page.locator("button.ss-thumbnail").click()
    assert (opened.image(), opened.offset()) == (chosen, (4, 5))


def test_filters_limit_thumbnails_list_and_buttons(opened, run):
    page, (first, second) = opened.page, run.audits
    everyone = page.locator(".ss-images .ss-row select option")
    texts = page.get_by_label("Filter images").locator("option").all_inner_texts()
    low = {}
    for audit in (first, second):
        low[audit.model] = {image for image, row in enumerate(audit.predictions.tolist())
                            if sum((row.count(label) / len(row)) ** 2 for label in set(row)) < 0.5}
    shown = {int(text.split()[-1]) for text in everyone.all_text_contents()}
    for place, wanted in ((1, low["two-full"] | low["two-conv"]), (2, low["two-full"]), (3, low["two-conv"])):
        assert texts[place].endswith(f"({len(wanted & shown)})") and texts[place].startswith("Consistency below 50 %: ")
        if not wanted & shown:
            continue
        page.get_by_label("Filter images").select_option(index=place)
        note = page.locator(".ss-images [role=status]").inner_text()
        assert note.startswith(f"{len(wanted & shown)} of {len(wanted)} such images are shown")
        visible = {int(str(radio.get_attribute("aria-label")).split()[-1])
                   for radio in page.locator(".ss-thumbnail input").all() if radio.is_visible()}
        assert visible == wanted & shown and opened.image() in visible
        visited = set()
        for _ in visible:
            visited.add(opened.image())
            page.get_by_role("button", name="Next image").press("Enter")
        assert visited == visible
        page.locator(".ss-thumbnail input:checked").focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")  # skips hidden images
            assert opened.image() in visible
    page.get_by_label("Filter images").select_option(index=0)
    assert all(radio.is_visible() for radio in page.locator(".ss-thumbnail input").all())
    assert opened.complaints == []


def test_an_image_leads_to_its_attribution_map(opened, run):
    page, (record,) = opened.page, run.attributions
    filters = page.get_by_label("Filter images").locator("option")
    assert re.fullmatch(r"With attribution map \(\d+\)", filters.last.inner_text())
    page.get_by_label("Filter images").select_option(index=filters.count() - 1)
    shown = opened.image()
    assert shown in record.index and page.get_by_role("button", name="Attribution map", pressed=True).is_visible()
    page.locator(".ss-stage").press("Shift+ArrowUp")
    page.get_by_role("button", name="Next image").click()
    assert opened.image() != shown and opened.image() in record.index and opened.offset() == PLACE.middle
    cards = page.locator(".ss-card")
    assert "No attribution map of this image was computed." in cards.nth(0).inner_text()
    row = record.index.index(opened.image())
    name = record.class_names[int(record.targets[row])]
    assert f"Integrated gradients for {name}, image at dy 4, dx 6" in cards.nth(1).inner_text()
    drawn = pixels_of(cards.nth(1).locator(".ss-attribution")).astype(int)
    values = record.maps[row]
    strong = np.abs(values) > 0.5 * np.abs(values).max()
    warmer = drawn[0] > drawn[2]  # orange raises the score, blue lowers it
    assert strong.any() and np.array_equal(warmer[strong], values[strong] > 0)
    assert page.get_by_text("raises the score").is_visible() and page.locator(".ss-map:visible").count() == 2
    page.get_by_role("button", name="Attribution map").press("Enter")
    assert page.locator(".ss-map:visible").count() == 4 and page.locator(".ss-attribution:visible").count() == 0
    page.get_by_label("Filter images").select_option(index=0)
    page.locator(".ss-thumbnail input").first.check(force=True)
    page.get_by_role("button", name="Attribution map").press("Enter")
    assert page.locator(".ss-attribution:visible").count() == int(opened.image() in record.index)
    assert opened.complaints == []


def test_the_table_of_images_is_downloaded(opened, run):
    with opened.page.expect_download() as download:
        opened.page.get_by_role("button", name="Download table of images").press("Enter")
    assert download.value.suggested_filename == "images.csv"
    assert Path(download.value.path()).read_bytes() == to_csv(run.audits).encode()
    rows = list(csv.DictReader(Path(download.value.path()).read_text("utf-8").splitlines()))
    assert len(rows) == 80
    assert [int(row["correct_count"]) for row in rows[40:]] == run.audits[1].correct_counts.tolist()
    assert opened.complaints == [] and all(url.startswith(("file:", "blob:")) for url in opened.requests)


def test_predictions_are_announced_after_a_pause(opened):
    opened.page.locator(".ss-stage").press("ArrowDown")
    opened.page.locator(".ss-stage").press("ArrowDown")
    announcement = opened.page.locator(".ss-announcement")
    assert announcement.inner_text() == "" and announcement.get_attribute("aria-live") == "polite"
    playwright.expect(announcement).not_to_be_empty()
    assert "down 6, right 6. perceptron: " in announcement.inner_text() and "convnet: " in announcement.inner_text()
    assert opened.page.locator(".ss-stage").get_attribute("aria-valuetext") == "down 6, right 6"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_is_accessible(browser, report, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe: pip install -e .[dev]")
    with Opened(browser, report, color_scheme=scheme, reduced_motion="reduce") as opened:
        opened.page.locator(".ss-cell").first.click()
        opened.page.get_by_label("Filter images").select_option(index=1)
        opened.page.get_by_role("button", name="Attribution map").click()
        for part in opened.page.locator("summary").all():
            if part.is_visible():
                part.click()
        found = axe.Axe().run(opened.page).response
    grave = [(part["id"], part["nodes"][0]["html"]) for part in found["violations"]
             if part["impact"] in ("serious", "critical")]
    assert grave == [] and len(found["passes"]) > 20


def test_a_cell_of_the_confusion_matrix_opens_its_images(opened, run):
    (evaluation, _), page = run.evaluations, opened.page
    errors = evaluation.confusion - np.diag(np.diag(evaluation.confusion))
    truth, predicted = (int(part) for part in np.argwhere(errors)[0])
    names = evaluation.class_names
    page.get_by_role("button", name=f"{names[truth]} predicted as {names[predicted]}").press("Enter")
    panel = page.locator(".ss-panel")
    inside = evaluation.cell_index[(evaluation.labels[evaluation.cell_index] == truth)
                                   & (evaluation.predictions[evaluation.cell_index] == predicted)]
    captions = panel.locator("figcaption").all_inner_texts()
    assert [int(caption.split()[1].rstrip(",")) for caption in captions] == inside.tolist() != []
    shown = pixels_of(panel.locator("canvas").first)
    pixels = torch.from_numpy(evaluation.cell_images[evaluation.cell_index == inside[0]])
    expected = PLACE.place(pixels, torch.from_numpy(evaluation.offsets[inside[:1]]))
    assert np.array_equal(shown, expected[0].expand(3, -1, -1).numpy())


def test_curves_show_values_at_any_epoch(opened, run):
    page = opened.page
    page.get_by_role("slider", name="Epoch").press("Home")
    first = [f"{result.history[0]['train_loss']:.3f}" for result in run.training]
    assert page.locator(".ss-values tbody tr td:nth-child(2)").all_inner_texts() == first
    assert page.locator(".ss-chart").count() == 2 and page.locator(".ss-curve.ss-dashed").count() == 2
    assert page.locator("#curves img").is_hidden() and page.locator("#models img").first.is_visible()


def test_figures_are_shown_without_javascript(browser, report):
    with Opened(browser, report, java_script_enabled=False) as opened:
        page = opened.page
        assert page.locator("#curves img").is_visible() and page.locator("#explore .instead").is_visible()
        page.get_by_text("convnet", exact=True).last.click()
        assert page.locator(".panel:visible img").first.get_attribute("alt") == "Accuracy by position: convnet. "\
            + page.locator(".panel:visible img").first.get_attribute("alt").partition(". ")[2]


def test_everything_is_printed(browser, report):
    with Opened(browser, report) as opened:
        pages = opened.page.pdf(format="A4")
        assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pages)) <= 5
        opened.page.emulate_media(media="print")
        figures = opened.page.locator("figure:not(.shiftscope *)").all()
        assert len(figures) == 5 and all(figure.bounding_box()["height"] > 50 for figure in figures)
        assert opened.page.get_by_text("First-layer weights: convnet").is_visible()
        assert opened.page.locator(".facts").bounding_box()["height"] > 20
        assert opened.page.locator(".shiftscope:visible, nav:visible").count() == 0


# ---------------------------------------------------------------- contents, tabs, theme

def test_contents_are_used_by_keyboard_and_stay_visible(opened):
    page = opened.page
    page.keyboard.press("Tab")
    links = page.locator("nav a").all()
    targets = [str(link.get_attribute("href")) for link in links]
    for number, link in enumerate(links):
        assert page.evaluate("document.activeElement.getAttribute('href')") == targets[number]
        assert link.bounding_box()["y"] >= 0
        if number < len(links) - 1:
            page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.url.endswith(targets[-1]) and targets[-1] == "#made"
    playwright.expect(page.locator("#made h2")).to_be_in_viewport()
    assert page.locator("nav").get_by_role("link", name="Summary").bounding_box()["y"] >= 0
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#models h2")).to_be_in_viewport()


def test_tabs_are_changed_by_arrow_keys_and_clicks(opened):
    page = opened.page
    tabs, panels = page.get_by_role("group", name="Models").get_by_role("radio"), page.locator(".panel")
    assert [tabs.nth(at).is_checked() for at in (0, 1)] == [True, False] == [panels.nth(at).is_visible()
                                                                            for at in (0, 1)]
    tabs.first.focus()
    page.keyboard.press("ArrowRight")
    assert not panels.first.is_visible() and panels.nth(1).is_visible() and tabs.nth(1).is_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the first collapsed part of the tab
    assert panels.nth(1).locator("details").first.evaluate("node => node.open")
    page.locator(".tabs > label").first.click()
    assert panels.first.is_visible() and not panels.nth(1).is_visible()


def test_figures_follow_the_theme_and_images_do_not(browser, report):
    def shot(scheme: str) -> np.ndarray:
        with Opened(browser, report, color_scheme=scheme) as opened:
            figure = opened.page.locator(".panel:visible .layers").first
            return np.asarray(Image.open(io.BytesIO(figure.screenshot())).convert("RGB")).astype(int)

    light, dark = shot("light"), shot("dark")
    assert (light[2, 2] >= 250).all() and np.abs(dark[2, 2] - (0x14, 0x18, 0x1d)).max() <= 2  # the color of the page
    same = np.abs(light - dark).max(axis=-1) <= 3
    colorful = np.ptp(light, axis=-1) > 40  # the color map
    assert colorful.mean() > 0.05 and same[colorful].mean() > 0.98
    ink = light.max(axis=-1) < 90
    assert ink[~same].any() and dark[ink & ~same].min() > 130


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_cut_on_narrow_screens(browser, report, width):
    with Opened(browser, report, viewport={"width": width, "height": 844}) as opened:
        cut = opened.page.evaluate("""() => [...document.querySelectorAll("main *")].filter((node) =>
            node.checkVisibility() && !node.closest(".ss-announcement, .tabs > input") &&
            (node.getBoundingClientRect().right > innerWidth + 1 || node.scrollWidth > node.clientWidth + 1 &&
            getComputedStyle(node).overflowX === "auto")).map((node) => node.outerHTML.slice(0, 200))""")
        assert cut == []
        cards = [card.bounding_box() for card in opened.page.locator(".card").all()]
        assert len({card["x"] for card in cards}) == 1 and cards[1]["y"] >= cards[0]["y"] + cards[0]["height"]


def test_narrow_screens_do_not_scroll_sideways(browser, report):
    with Opened(browser, report, viewport={"width": 360, "height": 740}) as opened:
        opened.page.get_by_role("button", name="Attribution map").click()
        assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
        opened.page.locator(".ss-card").last.scroll_into_view_if_needed()
        stage = opened.page.locator(".ss-stage").bounding_box()
        assert 0 <= stage["y"] and stage["y"] + stage["height"] < 740  # the canvas stays visible


# ---------------------------------------------------------------- other images, other placements

def made(audit_of, place: Placement, *, channels: int = 1, classes: int = 3, images: int = 3, **changed) -> Audit:
    """An audit of random answers at all placements."""
    numbers = np.random.default_rng(0)
    rows, columns = (axis.numpy() for axis in place.axes)
    logits = changed.pop("logits", numbers.normal(size=(images, place.count, classes)))
    pixels = numbers.integers(0, 256, (images, channels, *place.image)).astype(np.uint8)
    return audit_of(logits, np.arange(images) % classes, rows, columns, images=pixels, mode=place.mode,
                    placement=place.to_dict(), **changed)


def write(tmp_path: Path, *audits: Audit, **data) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render_report(ReportData(title="x", dataset={"name": "cats"}, audits=audits, **data)), "utf-8")
    return path


@pytest.mark.parametrize(("mode", "canvas", "options"), [
    ("canvas", (11, 13), {"background": 90}), ("circular", (10, 11), {"max_shift": 3}), ("crop", (2, 3), {"step": 2}),
    ("fill", (6, 8), {"background": 90}), ("fill", (6, 8), {"fill": "edge", "max_shift": 3}),
    ("fill", (6, 8), {"fill": "reflect", "max_shift": 5, "step": 5})])
def test_the_canvas_shows_the_model_input(browser, audit_of, tmp_path, mode, canvas, options):
    place = Placement(image=(6, 8), canvas=canvas, mode=mode, **options)
    audit = made(audit_of, place, channels=3)
    with Opened(browser, write(tmp_path, audit)) as opened:
        moved = set()
        for key in ("ArrowUp", "ArrowLeft", "ArrowLeft", "Home", "ArrowDown", "ArrowRight"):
            opened.page.locator(".ss-stage").press(key)
            offset, image = opened.offset(), opened.image()
            pixels = torch.from_numpy(audit.shown_images[audit.shown_index == image])
            shown = pixels if mode == "crop" else place.place(pixels, torch.tensor([offset]))
            assert np.array_equal(opened.pixels(), shown[0].numpy())
            assert opened.predictions() == predictions_at([audit], image, offset)
            moved.add(offset)
        assert len(moved) > 3 and place.middle in moved and opened.complaints == []


@pytest.mark.parametrize("canvas", [(60, 8), (8, 60)])
def test_tall_and_wide_canvases_fit_on_a_screen(browser, audit_of, tmp_path, canvas):
    place = Placement(image=(6, 6), canvas=canvas)
    with Opened(browser, write(tmp_path, made(audit_of, place))) as opened:
        stage, *maps = [part.bounding_box() for part in opened.page.locator(".ss-stage, .ss-map").all()]
        assert stage["height"] <= 313
        assert stage["height"] / stage["width"] == pytest.approx(canvas[0] / canvas[1], rel=0.02)
        assert all(10 < part["height"] <= 321 for part in maps)
        opened.page.locator(".ss-map").first.press("Home")
        box, marker = (opened.page.locator(part).first.bounding_box() for part in (".ss-map", ".ss-marker"))
        down = (marker["y"] + marker["height"] / 2 - box["y"]) / box["height"]
        assert down == pytest.approx((place.middle[0] + 0.5) / (canvas[0] - 5), abs=0.03)


def test_undefined_losses_are_marked(browser, make_training, tmp_path):
    training = make_training(epochs=4)
    training.history[1]["train_loss"] = float("nan")
    with Opened(browser, write(tmp_path, training=[training])) as opened:
        opened.page.locator(".ss-epoch").wait_for()
        marks = opened.page.locator(".ss-chart text", has_text="✕")
        assert marks.count() == 1 and "✕: not defined" in opened.page.locator(".ss-curves").inner_text()


def test_circular_mode_wraps_around(browser, audit_of, tmp_path):
    place = Placement(image=(6, 8), canvas=(8, 9), mode="circular")
    with Opened(browser, write(tmp_path, made(audit_of, place))) as opened:
        opened.page.locator(".ss-stage").press("ArrowUp")
        assert opened.offset() == (7, 0)
        for _ in range(8):
            opened.page.locator(".ss-stage").press("ArrowDown")
        assert opened.offset() == (7, 0)


def test_in_crop_mode_the_window_follows_the_pointer_over_the_whole_image(browser, audit_of, tmp_path):
    place = Placement(image=(9, 12), canvas=(5, 4), mode="crop")
    with Opened(browser, write(tmp_path, made(audit_of, place))) as opened:
        stage, page = opened.page.locator(".ss-stage"), opened.page
        stage.press("ArrowRight")
        assert opened.offset() == (2, 5)
        box = stage.bounding_box()
        pixel = box["width"] / 12
        assert box["height"] / 9 == pytest.approx(pixel, rel=0.02)
        for (down, right), expected in {(0.5, 0.5): (0, 0), (8.5, 11.5): (4, 8), (2.6, 6.1): (0, 4)}.items():
            page.mouse.click(box["x"] + right * pixel, box["y"] + down * pixel)  # outside of the window
            assert opened.offset() == expected
            frame = page.locator(".ss-frame").bounding_box()
            assert [round((frame[one] - box[one]) / pixel) for one in "yx"] == list(expected)
            assert [round(frame[side] / pixel) for side in ("height", "width")] == [5, 4]
        page.mouse.move(box["x"] + 6 * pixel, box["y"] + 2 * pixel)
        page.mouse.down()
        page.mouse.move(box["x"] + 8 * pixel, box["y"] + 5 * pixel, steps=4)
        page.mouse.up()
        assert opened.offset() == (3, 6) and opened.complaints == []


def test_nonfinite_and_missing_predictions_are_marked(browser, audit_of, tmp_path):
    place = Placement(image=(6, 6), canvas=(8, 9))
    logits = np.random.default_rng(1).normal(size=(1, 12, 3))
    logits[0, 5] = np.nan
    audit = made(audit_of, place, images=1, logits=logits, computed=np.array([0, 1, 5, 7]))
    assert audit.predictions[0, 2] == NONFINITE
    with Opened(browser, write(tmp_path, audit)) as opened:
        stage, card = opened.page.locator(".ss-stage"), opened.page.locator(".ss-card")
        assert opened.offset() == (1, 1) and opened.predictions() == ["non-finite"]
        assert "non-finite output" in card.inner_text() and "✗ incorrect" in card.inner_text()
        stage.press("ArrowDown")
        assert opened.predictions() == ["not computed"] and "not computed here" in card.inner_text()
        stage.press("ArrowUp")
        stage.press("ArrowRight")
        stage.press("ArrowRight")
        assert opened.predictions() == [str(audit.predictions[0, 3])]
        assert not re.search(r"NaN|undefined|null", opened.page.locator("#explore").inner_text())
        assert opened.complaints == []


def test_hostile_names_stay_text(browser, audit_of, make_evaluation, make_training, tmp_path):
    names = [EVIL, f"{EVIL} 2", "<b>bold</b>"]
    audit = dataclasses.replace(made(audit_of, Placement(image=(6, 6), canvas=(8, 9)), model=EVIL, dataset=EVIL),
                                class_names=names)
    evaluation = make_evaluation(model=EVIL, class_names=names, cell_index=np.arange(3),
                                 cell_images=np.zeros((3, 1, 4, 4), np.uint8))
    path = write(tmp_path, audit, evaluations=[evaluation], training=[make_training(model=EVIL)])
    with Opened(browser, path) as opened:
        opened.page.locator(".ss-stage").press("ArrowUp")
        opened.page.locator(".ss-cell").first.click()
        assert EVIL in opened.page.locator(".ss-legend").inner_text()
        assert opened.page.locator("img[onerror], b").count() == 0 and opened.page.title() == "x"
        assert opened.complaints == [] and len(opened.requests) == 1


def test_a_hundred_classes_have_a_list_of_errors(browser, audit_of, make_evaluation, tmp_path):
    audit = made(audit_of, Placement(image=(6, 6), canvas=(8, 9)), classes=100, images=2)
    evaluation = make_evaluation(classes=100, images=300)
    with Opened(browser, write(tmp_path, audit, evaluations=[evaluation])) as opened:
        predicted = int(opened.predictions()[0])
        assert f"class {predicted}" in opened.page.locator(".ss-prediction").inner_text()
        assert opened.page.locator(".ss-matrix tbody tr").count() == 60
        opened.page.locator(".ss-cell").first.click()
        assert "were not stored" in opened.page.locator(".ss-panel").inner_text()
        assert opened.complaints == []


@pytest.mark.parametrize(("models", "columns"), [(2, 2), (3, 3), (4, 2)])
def test_the_cards_of_models_leave_no_empty_cell(browser, audit_of, tmp_path, models, columns):
    audits = [made(audit_of, Placement(image=(6, 6), canvas=(8, 9)), model=f"net{number}") for number in range(models)]
    with Opened(browser, write(tmp_path, *audits), viewport={"width": 1280, "height": 900}) as opened:
        for cards in (opened.page.locator(".ss-card"), opened.page.locator(".card")):
            corners = [(round(box["x"]), round(box["y"])) for box in (card.bounding_box() for card in cards.all())]
            assert len({x for x, _ in corners}) == columns and len({y for _, y in corners}) == models // columns


def test_groups_are_selected_from_a_list(browser, audit_of, tmp_path):
    audits = [made(audit_of, Placement(image=(6, 6), canvas=canvas)) for canvas in ((8, 9), (7, 12))]
    with Opened(browser, write(tmp_path, *audits)) as opened:
        opened.page.get_by_label("Images and placements").select_option(index=1)
        playwright.expect(opened.page.locator(".ss-canvas")).to_have_attribute("width", "12")
        assert opened.offset() == (0, 3) and opened.pixels().shape == (3, 7, 12)


# ---------------------------------------------------------------- size

def test_a_report_of_four_models_is_small(audit_of):
    """At most 3 MB in the worst case: predictions and pixels of incompressible noise."""
    place = Placement(image=(28, 28), canvas=(56, 56))
    audits = [made(audit_of, place, classes=10, images=24, model=f"net{number}") for number in range(4)]
    noise = io.BytesIO(np.random.default_rng(0).bytes(600_000)).getvalue()
    figure = ReportFigure("samples", noise, "noise", "noise")
    html = render_report(ReportData(title="x", dataset={"name": "cats"}, audits=audits, figures={"noise": figure}))
    assert len(base64.b64encode(noise)) < len(html.encode()) < 3_000_000
