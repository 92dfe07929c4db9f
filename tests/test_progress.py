"""Lines of a log, and how long the rest takes."""

import io
from itertools import pairwise

import pytest

from shiftscope import progress
from shiftscope.progress import LineProgress, Pace


@pytest.fixture
def fake(monkeypatch):
    class FakeTime:
        now = 1000.0

        def monotonic(self):
            return self.now

    time = FakeTime()
    monkeypatch.setattr(progress, "time", time)
    return time


def test_a_resumed_task_is_judged_by_what_this_call_did(fake):
    pace = Pace(100, done=80)
    fake.now += 4.0
    assert pace.left(fake.now) == 0.0  # nothing done yet: nothing is known
    pace.done += 10
    assert pace.rate(fake.now) == 2.5 and pace.left(fake.now) == 4.0


def test_the_time_left_is_true_at_a_steady_pace(fake):
    pace = Pace(50)
    for done in range(1, 50):
        fake.now += 0.5
        pace.done = done
        assert pace.left(fake.now) == pytest.approx((50 - done) * 0.5)


def test_lines_come_more_and_more_rarely_and_say_what_is_left(fake):
    stream = io.StringIO()
    task = LineProgress(stream).task("train x", 1000)
    written = []
    for second in range(1, 101):
        fake.now += 1.0
        before = stream.tell()
        task.advance(10, loss=0.5)
        written += [second] if stream.tell() > before else []
    assert written[:5] == [5, 10, 15, 20, 25] and len(written) < 20
    assert all(b - a >= 0.25 * a for a, b in pairwise(written[5:]))
    task.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train x: 5 %  loss 0.500  10 images/s  1:35 left"
    assert lines[-1] == "train x: 100 %  loss 0.500  10 images/s  took 1:40"
