"""Models that nobody here wrote, audited by `auto`, and checked with a plain script that shares no code with it.

Usage: python benchmarks/audit_foreign.py [--images 100]

In the environment of `make test-vision`. torchvision's resnet18 and a timm model, random weights, adapted to one
channel and ten classes, on the first test images of Fashion-MNIST at all 841 placements. Labels that differ between
the audit and the plain script are counted, and how many of them are no ties (two largest logits further apart than
1e-5). Written to benchmarks/results/audit-foreign.json.
"""

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

import shiftscope
from shiftscope import files

sys.path.insert(0, str(Path(__file__).parent))
from cut_windows import cut_windows

RESULTS = Path(__file__).parent / "results" / "audit-foreign.json"
TIE = 1e-5


def resnet18() -> nn.Module:
    """Return torchvision's resnet18 for one channel and ten classes."""
    from torchvision.models import resnet18 as build

    model = build(weights=None, num_classes=10)
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return model


def regnetx_002() -> nn.Module:
    """Return timm's regnetx_002 for one channel and ten classes."""
    import timm

    return timm.create_model("regnetx_002", pretrained=False, in_chans=1, num_classes=10, zero_init_last=False)


def measure(build: Any, data: shiftscope.Dataset) -> dict[str, Any]:
    """Audit one model and compare every label with the plain script's."""
    torch.manual_seed(0)
    model = build().eval()
    found = shiftscope.audit(model, data, name=build.__name__)
    differ = apart = 0
    for index in range(len(data.test)):
        logits = cut_windows(model, data.test.gather(torch.tensor([index])))[0]
        top = logits.topk(2).values
        flipped = logits.argmax(1) != torch.from_numpy(found.answers[index].astype(int))
        differ += int(flipped.sum())
        apart += int((flipped & (top[:, 0] - top[:, 1] > TIE)).sum())
    return {"model": build.__name__, "images": found.images, "placements": found.placements, "engine": found.engine,
            "reason": found.reason, "seconds": found.seconds, "mean_accuracy": found.mean_accuracy,
            "worst_case_accuracy": found.worst_case_accuracy, "consistency": found.consistency,
            "unanimity": found.unanimity, "self_check": found.self_check, "ties": found.ties,
            "labels_that_differ": differ, "of_them_not_ties": apart, "notes": found.notes}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    asked = parser.parse_args()
    sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")  # see tests/vision
    data, records = shiftscope.load_dataset("fashion-mnist", limit=asked.images), []
    for build in (resnet18, regnetx_002):
        records.append(measure(build, data))
        print(records[-1], flush=True)
    files.write_json(RESULTS, {
        "schema_version": 1, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
        "what": "audit of foreign models by auto against an independent script", "records": records,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "platform": platform.machine(),
                    "torch": torch.__version__}})


if __name__ == "__main__":
    main()
