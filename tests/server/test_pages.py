"""Streams of events and answers, without a browser."""

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


def follow(run, *, seen: str | None = None, looks: int, between=lambda look: None) -> list[dict[str, str]]:
    """Follow the stream of events for so many looks, doing something before each; return the events."""
    left = [looks]

    def closing() -> bool:
        left[0] -= 1
        if left[0] >= 0:
            between(looks - left[0])
        return left[0] < 0

    app = live_page(RunFiles(run.path), token=TOKEN, port=PORT, closing=closing)
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}/{TOKEN}")
    answer = client.get("/events", headers={"last-event-id": seen} if seen else {})
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in answer.text.split("\n\n") if block]
    assert blocks[0] == "retry: 1000"
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks[1:]]


def epochs(event: dict[str, str]) -> int:
    return len(json.loads(event["data"])["trainings"][0]["history"])


def test_every_new_line_is_told_with_all_before_it(run):
    events = follow(run, looks=6, between=lambda look: run.log(FIRST, look // 2) if look % 2 == 0 else None)
    assert [epochs(event) for event in events] == [0, 1, 2, 3]
    assert len({event["id"] for event in events}) == 4 and {event["event"] for event in events} == {"state"}


def test_who_comes_back_gets_the_whole_history_unless_it_has_it(run):
    run.log(FIRST, 1, 2)
    first = follow(run, looks=1)[0]
    assert follow(run, seen=first["id"], looks=3) == []
    run.log(FIRST, 3)
    assert [epochs(event) for event in follow(run, seen=first["id"], looks=3)] == [3]
    assert [epochs(event) for event in follow(run, seen="of another server", looks=3)] == [3]


def test_a_log_that_gets_shorter_is_shown_shorter(run):
    run.log(FIRST, 1, 2, 3)
    events = follow(run, looks=4, between=lambda look: run.folder.log.truncate(FIRST.key, 1) if look == 3 else None)
    assert [epochs(event) for event in events] == [3, 1]


def test_a_line_that_is_half_written_waits_for_its_end(run):
    run.log(FIRST, 1)
    whole = (run.path / "metrics.jsonl").read_text().replace('"epoch": 1', '"epoch": 2')
    halves = {2: whole[:30], 4: whole[30:]}

    def write(look: int) -> None:
        with (run.path / "metrics.jsonl").open("a") as log:
            log.write(halves.get(look, ""))

    events = follow(run, looks=6, between=write)
    assert [epochs(event) for event in events] == [1, 1, 2]
    assert [json.loads(event["data"])["problems"] for event in events] == [[]] * 3


def test_a_run_that_is_deleted_meanwhile_is_told_and_found_again(run):
    run.log(FIRST, 1)

    def change(look: int) -> None:
        if look == 2:
            shutil.rmtree(run.path)
        if look == 4:
            run.begin()

    phases = [json.loads(event["data"])["phase"] for event in follow(run, looks=6, between=change)]
    assert phases == ["training", "missing", "training"]


def test_a_quiet_stream_says_that_it_is_there(run, monkeypatch):
    monkeypatch.setattr(pages, "ALIVE", 0.02)
    said = [event for event in follow(run, looks=12) if "" in event]
    assert said and all(event == {"": "still here"} for event in said)


def test_two_pages_and_two_servers_tell_the_same(run):
    run.log(FIRST, 1, 2)

    async def both() -> list[str]:
        files = RunFiles(run.path)
        apps = [live_page(files, token=TOKEN, port=PORT, closing=iter([False, True]).__next__) for _ in range(2)]
        clients = [TestClient(app, base_url=f"http://127.0.0.1:{PORT}/{TOKEN}") for app in apps]
        return list(await asyncio.gather(*(asyncio.to_thread(lambda c=c: c.get("/events").text) for c in clients)))

    one, other = asyncio.run(both())
    assert one == other and '"epoch": 2' in one


def test_the_head_of_a_stream_is_no_stream(client):
    answer = client.head("/events")
    assert (answer.status_code, answer.content) == (200, b"")


def test_pictures_and_reports_live_in_a_world_of_their_own(run, client):
    run.done()
    for path, kind in (("/report", "text/html; charset=utf-8"), ("/figures/samples.png", "image/png"),
                       ("/figures/samples.svg", "image/svg+xml")):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert answer.headers["content-type"] == kind and "sandbox" in policy and "allow-same-origin" not in policy
        assert "default-src 'none'" in policy
    assert client.get("/figures/samples.png").content == run.pixel


def test_what_is_not_there_yet_is_not_found(client):
    for path in ("/report", "/figures/samples.png", "/nothing"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "not found\n")


def test_an_error_inside_says_nothing(run, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(RunFiles, "read", fail)
    app = live_page(RunFiles(run.path), token=TOKEN, port=PORT)
    client = TestClient(app, base_url=f"http://127.0.0.1:{PORT}/{TOKEN}", raise_server_exceptions=False)
    answer = client.get("/report")
    assert (answer.status_code, answer.text) == (500, "refused\n")
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


def test_a_web_socket_is_turned_away(client):
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/events"):
        pass


def test_on_port_80_the_host_has_no_port(run):
    app = live_page(RunFiles(run.path), token=TOKEN, port=80)
    assert TestClient(app, base_url=f"http://localhost/{TOKEN}").get("/").status_code == 200
    assert TestClient(app, base_url=f"http://elsewhere/{TOKEN}").get("/").status_code == 403
