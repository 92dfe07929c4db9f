"""Damaged files of all kinds: each is read, or refused in one sentence; nothing runs, nothing else is changed.

400 inputs run here. More by hand, for instance 5,000 of another seed:

    FUZZ_INPUTS=5000 FUZZ_SEED=1 python -m pytest tests/fuzz -s

A single input again, with its traceback: `python tests/fuzz/worker.py FOLDER SEED NUMBER 1` (FOLDER: any new one).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

INPUTS, SEED = int(os.environ.get("FUZZ_INPUTS", "400")), int(os.environ.get("FUZZ_SEED", "0"))
WORKER = Path(__file__).with_name("worker.py")
SECONDS, MEMORY = 20, 1536 * 2**20
"""Largest computing time and memory of one input."""

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory by Linux's /proc")]


def read_all(folder: Path, seed: int, count: int) -> list[dict]:
    """Damage and read `count` inputs; an input that ends its process is an outcome too."""
    lines: list[dict] = []
    while len(lines) < count:
        worker = subprocess.run(
            [sys.executable, "-B", str(WORKER), str(folder), str(seed), str(len(lines)), str(count - len(lines))],
            capture_output=True, text=True, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        found = [json.loads(line) for line in worker.stdout.splitlines()]
        done = [line for line in found if "outcome" in line]
        lines += done
        if worker.returncode != 0:
            assert len(found) > len(done) and found[-1]["begun"], worker.stderr[-2000:]
            lines.append(found[-1] | {"outcome": "ended the process", "error": str(worker.returncode), "place": "",
                                      "message": worker.stderr[-300:], "seconds": 0.0, "bytes": 0, "harm": []})
    return lines


def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path):
    found = read_all(tmp_path, SEED, INPUTS)
    outcomes = Counter(one["outcome"] for one in found)
    print(f"\n{len(found)} inputs: {dict(outcomes)}; at most {max(one['seconds'] for one in found):.1f} s and "
          f"{max(one['bytes'] for one in found) / 2**20:.0f} MiB")
    print({name: dict(Counter(one["outcome"] for one in found if one["reader"] == name))
           for name in sorted({one["reader"] for one in found})})
    unforeseen = [one for one in found if one["outcome"] not in ("read", "refused")]
    assert not unforeseen, json.dumps(unforeseen[:5], indent=1)
    costly = [one for one in found if one["seconds"] > SECONDS or one["bytes"] > MEMORY]
    assert not costly, costly
    assert not [one for one in found if one["harm"]]
    assert min(outcomes["read"], outcomes["refused"]) > INPUTS // 10  # damage that everything or nothing survives


def test_the_worker_reports_harm(tmp_path, monkeypatch):
    """A reader that runs code, changes its input, eats memory or raises: each is reported."""
    monkeypatch.syspath_prepend(str(WORKER.parent))
    import worker

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "file").write_text("x")
    guard = worker.Guard(tmp_path / "in")

    def outcome(read):
        return worker.tried(read, tmp_path, guard)

    assert outcome(lambda folder, out: os.system("true"))["harm"]
    assert outcome(lambda folder, out: (folder / "file").write_text("y"))["harm"] == ["changed the input"]
    assert outcome(lambda folder, out: exec(compile("1", str(folder / "a.py"), "exec")))["harm"]
    assert outcome(lambda folder, out: bytearray(2**28).replace(b"\0", b"\1"))["bytes"] > 2**28
    assert outcome(lambda folder, out: 1 / 0)["outcome"] == "unforeseen"
    assert outcome(lambda folder, out: (out / "new").write_text("z")) | {"seconds": 0, "bytes": 0} == {
        "outcome": "read", "error": "", "message": "", "place": "", "seconds": 0, "bytes": 0, "harm": []}
