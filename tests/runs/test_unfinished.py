"""The folder of an unfinished audit: what it holds, whose files it is, and what is refused."""

import json

import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.runs import unfinished
from shiftscope.runs.unfinished import FOLDER, HEADER, UnfinishedAudit

SETTINGS = {"seed": 0, "split": "test"}


def block(count, value):
    return {"classes": np.full((count, 3), value, np.uint8)}


def stop_after(out, *counts, **more):
    with UnfinishedAudit(out, **more) as store:
        begin = sum(len(one["classes"]) for one in store.identify("model", "images", SETTINGS))
        for value, count in enumerate(counts):
            store.add(begin, block(count, value))
            begin += count


def stored(out):
    with UnfinishedAudit(out, resume=True) as store:
        return [one["classes"] for one in store.identify("model", "images", SETTINGS)]


def test_blocks_are_read_in_order(tmp_path):
    stop_after(tmp_path, 4, 2)
    stop_after(tmp_path, 5, resume=True)
    found = stored(tmp_path)
    assert [len(one) for one in found] == [4, 2, 5] and [int(one[0, 0]) for one in found] == [0, 1, 0]


@pytest.mark.parametrize("damage", ["removed", "truncated", "foreign"])
def test_blocks_after_a_gap_are_computed_again(tmp_path, damage):
    stop_after(tmp_path, 4, 2, 3)
    path = tmp_path / FOLDER / "images-000000004.npz"
    if damage == "removed":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        np.savez(path, number=np.array("other"), **block(2, 7))
    assert [len(one) for one in stored(tmp_path)] == [4]
    assert [len(one) for one in stored(tmp_path)] == [4], "the gap must not close by itself"


@pytest.mark.parametrize(("change", "words"), [
    ({"model": "other"}, "of another model: weights or layers differ"), ({"images": "other"}, "of other images"),
    ({"settings": {"seed": 1, "split": "test"}}, "with another seed: 0, now 1"),
    ({"release": "0.0"}, "of release '0.0', this is release")])
def test_another_audit_is_refused(tmp_path, change, words):
    stop_after(tmp_path, 4)
    path = tmp_path / FOLDER / HEADER
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | change if "seed" not in str(change) and "release" in change else header))
    given = {"model": "model", "images": "images", "settings": SETTINGS} | {
        name: value for name, value in change.items() if name != "release"}
    before = {file.name: file.read_bytes() for file in (tmp_path / FOLDER).iterdir()}
    with UnfinishedAudit(tmp_path, resume=True) as store, pytest.raises(UsageError) as caught:
        store.identify(**given)
    assert words in str(caught.value) and len(str(caught.value)) < 400 + len(str(tmp_path))
    assert {file.name: file.read_bytes() for file in (tmp_path / FOLDER).iterdir()} == before


def test_an_unfinished_audit_is_not_replaced_by_accident(tmp_path):
    stop_after(tmp_path, 4)
    with pytest.raises(UsageError, match="continue it with --resume, replace it with --overwrite"):
        UnfinishedAudit(tmp_path).check()
    stop_after(tmp_path, 3, overwrite=True)
    assert [len(one) for one in stored(tmp_path)] == [3]


def test_files_of_others_are_never_removed(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    for more in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError, match="was not written by Shiftscope; move it"):
            UnfinishedAudit(tmp_path, **more).begin()
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]
    (folder / "thesis.tex").rename(tmp_path / "thesis.tex")
    stop_after(tmp_path, 4)
    (tmp_path / "thesis.tex").rename(folder / "thesis.tex")
    with UnfinishedAudit(tmp_path, resume=True) as store:
        store.identify("model", "images", SETTINGS)
        store.finish()
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_two_processes_do_not_share_a_folder(tmp_path):
    with UnfinishedAudit(tmp_path), pytest.raises(UsageError, match="in use by another process"):
        UnfinishedAudit(tmp_path, resume=True).begin()


def test_a_command_that_fails_before_its_first_images_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), UnfinishedAudit(tmp_path) as store:
        store.identify("model", "images", SETTINGS)
        raise ZeroDivisionError
    with UnfinishedAudit(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_writes_are_bounded(tmp_path, monkeypatch):
    """At most one write in two seconds, in 2 % of the time so far, and none later than after a minute."""
    now, writes = [0.0], []
    monkeypatch.setattr(unfinished.time, "monotonic", lambda: now[0])
    store = UnfinishedAudit(tmp_path)
    while now[0] < 36_000:
        now[0] += 0.5
        if store.is_due:
            writes.append(now[0])
            store._stored = now[0]
    gaps = np.diff([0, *writes])
    assert gaps.min() >= 2 and gaps.max() <= 60.5 and len(writes) < 800
