"""Audit models of other libraries with `auto` and check the result with an independent plain script.

Usage: python benchmarks/audit_foreign.py [--images 100]

Runs in the environment of `make test-vision`. torchvision's resnet18 and a timm model with random weights, adapted to
one channel and ten classes, are audited on the first test images of Fashion-MNIST at all 841 placements. The script
counts labels that differ between the audit and the plain script, and those among them that are not ties (the two
largest logits differ by more than 1e-5). For the first ten images, the logits of the audit's engine are computed again
and compared with those of the script. Written to benchmarks/results/audit-foreign.json.
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
from shiftscope.dense import build_dense
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.placement import default_placement

sys.path.insert(0, str(Path(__file__).parent))
from bench.plain_script import cut_windows

RESULTS = Path(__file__).parent / "results" / "audit-foreign.json"
TIE = 1e-5
COMPARED = 10
"""Images whose logits are compared."""


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


@torch.no_grad()
def tell_apart(model: nn.Module, head: nn.Linear, data: shiftscope.Dataset) -> None:
    """Shift and scale the classes so that all are answered: with random weights one alone wins, wherever it looks."""
    placement, some = default_placement(data.shape), torch.arange(min(64, len(data.test)))
    canvases = placement.place(data.test.gather(some), placement.sample(some, seed=0))
    logits = model(canvases.float() / 255)
    std, mean = torch.std_mean(logits, 0)
    head.bias.copy_((head.bias - mean) / std)
    head.weight.div_(std[:, None])


def measure(build: Any, data: shiftscope.Dataset) -> dict[str, Any]:
    """Audit one model and compare every label with the plain script's."""
    torch.manual_seed(0)
    model = build().eval()
    tell_apart(model, next(part for part in reversed(list(model.modules())) if isinstance(part, nn.Linear)), data)
    found = shiftscope.audit(model, data, name=build.__name__)
    placement = default_placement(data.shape)
    build_engine = build_dense if found.engine == "dense" else BruteForceEngine
    engine = build_engine(model, placement, data.shape)
    differ, apart, furthest = 0, 0, 0.0
    for index in range(len(data.test)):
        image = data.test.gather(torch.tensor([index]))
        logits = cut_windows(model, image)[0]
        if index < COMPARED:
            furthest = max(furthest, float((engine.logits(image)[0] - logits).abs().max()))
        top = logits.topk(2).values
        flipped = logits.argmax(1) != torch.from_numpy(found.predictions[index].astype(int))
        differ += int(flipped.sum())
        apart += int((flipped & (top[:, 0] - top[:, 1] > TIE)).sum())
    return {"model": build.__name__, "images": found.images, "placements": found.placements, "engine": found.engine,
            "reason": found.reason, "seconds": found.seconds, "mean_accuracy": found.mean_accuracy,
            "worst_case_accuracy": found.worst_case_accuracy, "consistency": found.consistency,
            "unanimity": found.unanimity, "self_check": found.self_check, "ties": found.ties,
            "logits_compared": min(COMPARED, found.images) * found.placements, "largest_logit_difference": furthest,
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
        "schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "data": data.name,
        "what": "audit of foreign models by auto against an independent script", "records": records,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "platform": platform.machine(),
                    "torch": torch.__version__}})


if __name__ == "__main__":
    main()
