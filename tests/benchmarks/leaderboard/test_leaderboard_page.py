"""The committed page agrees with the committed records."""

import importlib.util
from pathlib import Path

import pytest

from leaderboard.entries import ENTRIES
from leaderboard.overview import page_parts
from leaderboard.records import read_records
from page_markers import markers

ROOT = Path(__file__).parents[3]
RECORDS = ROOT / "benchmarks" / "results" / "leaderboard"


def part(page: str, name: str) -> str:
    begin, end = markers(name)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text.count(begin) == text.count(end) == 1
    return text.split(begin)[1].split(end)[0].strip("\n")


def test_the_page_contains_the_parts_generated_from_the_records():
    for name, text in page_parts(RECORDS).items():
        assert part("leaderboard.md", name) == text


def test_the_page_begins_with_figure_and_table():
    text = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    assert text.index("(images/leaderboard.png)") < text.index("\n| model |") < text.index("\n## ")


def test_records_are_complete_small_and_of_known_entries():
    known = {entry.name: entry for entry in ENTRIES}
    for path in RECORDS.glob("*"):
        assert path.suffix == ".json" and path.stat().st_size <= 30_000, path
    for one in read_records(RECORDS):
        entry = known[one.entry]
        assert (one.images, one.placements, one.dataset) == (10_000, 841, "fashion-mnist"), one.key
        assert (one.title, one.description) == (entry.title, entry.description), one.key
        assert one.settings_requested["epochs"] is None


@pytest.fixture(scope="module")
def depth():
    spec = importlib.util.spec_from_file_location("depth_and_kernels", ROOT / "benchmarks" / "depth_and_kernels.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_depth_is_generated_from_its_records(depth):
    records = depth.read()
    assert part("depth.md", "depth") == (depth.table(records) if records else "")


def test_the_nets_of_the_ablation_have_equal_parameters(depth):
    from shiftscope.models import count_parameters

    counts = {name: count_parameters(depth.net(*sizes)) for name, sizes in depth.NETS.items()}
    assert max(counts.values()) / min(counts.values()) < 1.05
    for record in depth.read():
        assert record["parameters"] == counts[record["net"]]
        assert (record["images"], record["placements"]) == (depth.TEST_IMAGES, 841)
