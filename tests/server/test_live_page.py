"""The live page in a real browser, with a real training that is killed and resumed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from shiftscope.runs import Job

pytestmark = pytest.mark.slow

POINTS = "() => (document.querySelector('#curves-view .ss-curve')?.getAttribute('d') ?? '').split(/[ML]/).length - 1"
"""Number of points of the first curve."""

TRAIN = [sys.executable, "-m", "shiftscope", "train", "two-conv", "--data", "garments", "--limit", "250", "--epochs",
         "400", "--batch-size", "50", "--device", "cpu", "--quiet"]
"""Takes longer than the test on any machine."""
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@contextmanager
def opened(browser, address: str, **options):
    """Open the page; there must be no console messages or errors."""
    context = browser.new_context(**options)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#state[data-phase]")
    yield page
    context.close()
    assert complaints == []


def wait_for_phase(page, phase: str, seconds: float = 20) -> str:
    page.wait_for_selector(f"#state[data-phase={phase}]", timeout=1000 * seconds)
    return page.locator("#state").inner_text()


def wait_for_points(page, least: int) -> int:
    page.wait_for_function(f"() => ({POINTS})() >= {least}", timeout=40_000)
    return page.evaluate(POINTS)


def logged(folder: Path) -> int:
    return (folder / "metrics.jsonl").read_text().count("\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_page_follows_a_training_that_is_killed_and_resumed(browser, watching, tmp_path):
    out = tmp_path / "run"
    trainer = subprocess.Popen([*TRAIN, "--out", str(out)], env=ONE_THREAD)
    try:
        while not (out / "env.json").exists():
            assert trainer.poll() is None
            time.sleep(0.05)
        with watching(out) as address, watching(out) as second:
            with opened(browser, address) as page:
                seen = [wait_for_points(page, 1)]
                while len(seen) < 4:
                    seen.append(wait_for_points(page, seen[-1] + 1))
                assert page.locator("td[data-left]").inner_text().startswith("about ")
                assert "epoch" in page.title()
            assert trainer.poll() is None, "the curve grew while the training went on"
            trainer.kill()
            trainer.wait()
            killed_at = logged(out)
            assert seen == sorted(set(seen)) and seen[-1] <= killed_at < 400
            with opened(browser, address) as page, opened(browser, second) as other:
                assert wait_for_points(page, killed_at) == wait_for_points(other, killed_at) == killed_at
                message = wait_for_phase(page, "silent")
                assert message.startswith("No output since") and "--resume" in message
                assert page.locator("#trainings tbody tr").get_attribute("data-status") == "silent"
                trainer = subprocess.Popen([*TRAIN, "--out", str(out), "--resume"], env=ONE_THREAD)
                wait_for_phase(page, "training", 40)
                wait_for_points(page, killed_at + 1)
                trainer.send_signal(signal.SIGINT)
                assert trainer.wait(20) == 130
                assert wait_for_phase(page, "stopped") == wait_for_phase(other, "stopped")
                assert f"convnet after {logged(out)} epochs" in page.locator("#state").inner_text()
                assert wait_for_points(page, logged(out)) == wait_for_points(other, logged(out)) == logged(out)
    finally:
        trainer.kill()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, fake_run, watching):
    """(run, address) of a finished run whose report sends forbidden requests."""
    run = fake_run(tmp_path_factory.mktemp("finished") / "my <b>run").begin().done(
        "<!DOCTYPE html><title>unread</title><h1>The report</h1><script>"
        "fetch('watch.js').then(() => { document.title = 'read'; }, () => { document.title = 'refused'; });"
        "try { window.top.localStorage.x = document.cookie; document.title = 'stored'; } catch { }</script>")
    with watching(run.path) as address:
        yield run, address


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 700}}],
                         ids=["light", "dark", "narrow"])
def test_a_finished_run_is_accessible(browser, finished, options):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    with opened(browser, finished[1], **options) as page:
        assert page.locator("h1").inner_text() == "my <b>run"  # a name is text
        rows = page.locator("#trainings tbody tr")
        assert rows.count() == 3 and "62.5 % (epoch 3)" in rows.first.inner_text()
        assert page.locator(".figures img").count() == 2
        page.locator(".figures img").last.scroll_into_view_if_needed()
        page.wait_for_function("() => [...document.images].every((image) => image.naturalWidth === 60)")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []


def test_the_report_opens_in_a_sandbox(browser, finished):
    with opened(browser, finished[1]) as page:
        with page.context.expect_page() as report:
            page.get_by_role("link", name="Open the report").click()
        report.value.wait_for_function("document.title !== 'unread'")
        assert (report.value.title(), report.value.locator("h1").inner_text()) == ("refused", "The report")
        assert report.value.evaluate("window.origin") == "null"


def test_a_run_that_disappears_and_reappears(browser, watching, fake_run, tmp_path):
    first = Job(model="two-full", seed=0)
    run = fake_run(tmp_path / "run").begin()
    run.log(first, 1, 2)
    run.draw("samples.png")
    with watching(run.path) as address, opened(browser, address) as page:
        assert wait_for_points(page, 2) == 2
        shutil.rmtree(run.path)
        assert "moved or deleted" in wait_for_phase(page, "missing")
        assert page.locator("#trainings tbody tr").count() == page.locator(".figures li").count() == 0
        run.begin()
        run.log(first, 1, 2, 3)
        wait_for_phase(page, "training")
        assert wait_for_points(page, 3) == 3


def test_a_lost_connection_is_shown(browser, watching, run):
    with watching(run.path) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#state[data-phase]")
        assert not page.locator("#connection").is_visible()
    page.locator("#connection").wait_for(state="visible")
    assert "shiftscope watch" in page.locator("#connection").inner_text()
    with watching(run.path, "--port", address.split(":")[2].split("/")[0]):
        pass  # the port is free again immediately
    context.close()
