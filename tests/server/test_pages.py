"""Event streams and responses, without a browser."""

import asyncio
import json
import shutil

import pytest

pytest.importorskip("httpx", reason="needs httpx: pip install -e .[dev]")
from starlette.testclient import TestClient

from shiftscope.runs import Job
from shiftscope.server import pages
from shiftscope.server.guard import HEADERS
from shiftscope.server.pages import live_page
from shiftscope.server.run_files import RunFiles

TOKEN, PORT = "token", 5000
FIRST = Job(model="two-full", seed=0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pages, "PERIOD", 0.005)


@pytest.fixture
def client(run):
    return TestClient(live_page(RunFiles(run.path), token=TOKEN, port=PORT), base_url=f"http://127.0.0.1:{PORT}/{TOKEN}")


def follow(run, *, seen: str | None = None, checks: int, between=lambda check: None) -> list[dict[str, str]]:
    """Follow the event stream for some checks of the folder, calling `between` before each; return the events."""
    left = [checks]

    def closing() -> bool:
        left[0] -= 1
        if left[0] >= 0:
            between(checks - left[0])
        return left[0] < 0

    app = live_page(RunFiles(run.path), token=TOKEN, port=PORT, closing=closing)
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}/{TOKEN}")
    response = client.get("/events", headers={"last-event-id": seen} if seen else {})
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block]
    assert blocks[0] == "retry: 1000"
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks[1:]]


def epochs(event: dict[str, str]) -> int:
    return len(json.loads(event["data"])["trainings"][0]["history"])


def test_every_event_has_the_whole_history(run):
    events = follow(run, checks=6, between=lambda check: run.log(FIRST, check // 2) if check % 2 == 0 else None)
    assert [epochs(event) for event in events] == [0, 1, 2, 3]
    assert len({event["id"] for event in events}) == 4 and {event["event"] for event in events} == {"state"}


def test_a_reconnecting_page_gets_only_new_snapshots(run):
    run.log(FIRST, 1, 2)
    first = follow(run, checks=1)[0]
    assert follow(run, seen=first["id"], checks=3) == []
    run.log(FIRST, 3)
    assert [epochs(event) for event in follow(run, seen=first["id"], checks=3)] == [3]
    assert [epochs(event) for event in follow(run, seen="of another server", checks=3)] == [3]


def test_a_shortened_log_is_shown(run):
    run.log(FIRST, 1, 2, 3)
    events = follow(run, checks=4, between=lambda check: run.folder.log.truncate(FIRST.key, 1) if check == 3 else None)
    assert [epochs(event) for event in events] == [3, 1]


def test_an_incomplete_line_is_ignored_until_complete(run):
    run.log(FIRST, 1)
    whole = (run.path / "metrics.jsonl").read_text().replace('"epoch": 1', '"epoch": 2')
    halves = {2: whole[:30], 4: whole[30:]}

    def write(check: int) -> None:
        with (run.path / "metrics.jsonl").open("a") as log:
            log.write(halves.get(check, ""))

    events = follow(run, checks=6, between=write)
    assert [epochs(event) for event in events] == [1, 1, 2]
    assert [json.loads(event["data"])["problems"] for event in events] == [[]] * 3


def test_a_deleted_run_is_reported_and_found_again(run):
    run.log(FIRST, 1)

    def change(check: int) -> None:
        if check == 2:
            shutil.rmtree(run.path)
        if check == 4:
            run.begin()

    phases = [json.loads(event["data"])["phase"] for event in follow(run, checks=6, between=change)]
    assert phases == ["training", "missing", "training"]


def test_a_quiet_stream_sends_comments(run, monkeypatch):
    monkeypatch.setattr(pages, "KEEP_ALIVE", 0.02)
    comments = [event for event in follow(run, checks=12) if "" in event]
    assert comments and all(event == {"": "keep-alive"} for event in comments)


def test_two_servers_send_the_same_snapshot(run):
    run.log(FIRST, 1, 2)

    async def both() -> list[str]:
        files = RunFiles(run.path)
        apps = [live_page(files, token=TOKEN, port=PORT, closing=iter([False, True]).__next__) for _ in range(2)]
        clients = [TestClient(app, base_url=f"http://127.0.0.1:{PORT}/{TOKEN}") for app in apps]
        return list(await asyncio.gather(*(asyncio.to_thread(lambda c=c: c.get("/events").text) for c in clients)))

    one, other = asyncio.run(both())
    assert one == other and '"epoch": 2' in one


def test_head_of_a_stream_is_empty(client):
    response = client.head("/events")
    assert (response.status_code, response.content) == (200, b"")


def test_figures_and_reports_are_sandboxed(run, client):
    run.done()
    for path, kind in (("/report", "text/html; charset=utf-8"), ("/figures/samples.png", "image/png"),
                       ("/figures/samples.svg", "image/svg+xml")):
        response = client.get(path)
        policy = response.headers["content-security-policy"]
        assert response.headers["content-type"] == kind and "sandbox" in policy and "allow-same-origin" not in policy
        assert "default-src 'none'" in policy
    assert client.get("/figures/samples.png").content == run.pixel


def test_missing_files_are_not_found(client):
    for path in ("/report", "/figures/samples.png", "/nothing"):
        response = client.get(path)
        assert (response.status_code, response.text) == (404, "not found\n")


def test_internal_errors_are_not_revealed(run, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(RunFiles, "read", fail)
    app = live_page(RunFiles(run.path), token=TOKEN, port=PORT)
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}/{TOKEN}", raise_server_exceptions=False)
    response = client.get("/report")
    assert (response.status_code, response.text) == (500, "refused\n")
    assert all(response.headers[name] == value for name, value in HEADERS.items())


def test_web_sockets_are_refused(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/events"):
        pass


def test_on_port_80_the_host_has_no_port(run):
    app = live_page(RunFiles(run.path), token=TOKEN, port=80)
    assert TestClient(app, base_url=f"http://localhost/{TOKEN}").get("/").status_code == 200
    assert TestClient(app, base_url=f"http://elsewhere/{TOKEN}").get("/").status_code == 403
