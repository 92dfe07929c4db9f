import numpy as np
import pytest

from leaderboard.records import METRICS, LeaderboardRecord, pack_counts, write_record


def record(entry="two-full", seed=0, counts=(4, 4, 2, 0), placements=4, **changed) -> LeaderboardRecord:
    """Return a record whose metrics follow from its counts."""
    counts = np.array(counts)
    mean, worst = float(counts.mean() / placements), float((counts == placements).mean())
    values = {
        "entry": entry, "title": entry.replace("-", " "), "description": f"{entry}, by its default recipe",
        "model": "two-full", "repair": None,
        "preset": "default", "trained": "random", "seed": seed, "parameters": 1234, "epochs": 1, "train_images": 10,
        "train_seconds": 2.0 + seed, "settings": {}, "settings_requested": {"data": "x"},
        "hardware": {"processor": "chip", "cores": 2, "device": "cpu", "torch": "2"},
        "claims": {"canvas": {"level": "none", "why": "it has strides"}}, "measured": f"2026-01-0{seed + 1}",
        "dataset": "garments",
        "synthetic": True, "split": "test", "classes": 10, "images": len(counts), "placements": placements,
        "mode": "canvas", "placement": {"image": [2, 2], "canvas": [3, 3]}, "engine": "dense", "reason": "supported",
        "audit_seconds": 1.0, "mean_accuracy": mean, "worst_case_accuracy": worst, "consistency": 0.5,
        "unanimity": 0.25, "middle_accuracy": 0.75, "intervals": {name: [0.125, 0.875] for name in METRICS},
        "flips": 3, "ties": 0, "nonfinite": 0,
        "self_check": {"placements": 1, "max_abs_logit_difference": 0.0, "tolerance": 1.0}, "notes": [], "labels": 7,
        "packed_counts": pack_counts(counts, placements)}
    return LeaderboardRecord(**(values | changed))


@pytest.fixture
def make_record():
    return record


@pytest.fixture
def write_records(tmp_path):
    """Return a function that writes records into a folder and returns the folder."""
    def write(*records):
        for one in records:
            write_record(one, tmp_path / "records")
        return tmp_path / "records"

    return write
