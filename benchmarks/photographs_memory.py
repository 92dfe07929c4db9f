"""Peak memory of an audit of many large photographs: synthesized JPEG files, prepared and audited at 9 placements.

    python benchmarks/photographs_memory.py [--images 2000] [--spooled]

The files are links to 20 different photographs, so that 2,000 of them need little space; each is decoded anyway.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import shiftscope
from shiftscope.data import folder
from shiftscope.placement import Placement

WIDTH, HEIGHT, DIFFERENT = 4000, 3000, 20


def synthesize(root: Path, count: int) -> None:
    """Write `count` JPEG files of 12 megapixels in two class folders."""
    random = np.random.default_rng(0)
    for index in range(count):
        path = root / ("cat" if index % 2 else "dog") / f"{index:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        if index < DIFFERENT:
            coarse = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((WIDTH, HEIGHT)), dtype=np.int16)
            noise = np.tile(random.integers(-12, 13, (HEIGHT // 10, WIDTH // 10, 1), dtype=np.int16), (10, 10, 1))
            Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=88)
        else:
            os.link(root / ("cat" if index % DIFFERENT % 2 else "dog") / f"{index % DIFFERENT:05d}.jpg", path)


def peak() -> float:
    """Return the largest resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(root: Path, *, spooled: bool) -> dict[str, float | int | bool]:
    """Load the folder and audit all of its training images; return seconds and peak memory."""
    begun, start = time.perf_counter(), peak()
    if spooled:
        folder.MAX_BYTES = 0
    data = shiftscope.load_dataset(f"folder:{root}", image_size=(256, 256), shorter_side=256)
    loaded = time.perf_counter()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    placement = Placement(image=(256, 256), canvas=(224, 224), mode="crop", step=16)
    after_loading = peak()
    found = shiftscope.audit(net, data, placement=placement, split="train", validation=0, engine="brute")
    return {"spooled": spooled, "files": len(data.train) + len(data.test), "audited_images": found.images,
            "placements": found.placements, "peak_gb_before": round(start, 3),
            "peak_gb_loaded": round(after_loading, 3), "peak_gb": round(peak(), 3),
            "seconds_preparing": round(loaded - begun, 1), "seconds_audit": round(time.perf_counter() - loaded, 1)}


def main() -> None:
    """Synthesize the photographs, audit them, and print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--spooled", action="store_true", help="store prepared images in a temporary file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        synthesize(Path(name), arguments.images)
        print(json.dumps(measure(Path(name), spooled=arguments.spooled)))


if __name__ == "__main__":
    main()
