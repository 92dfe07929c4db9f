"""Check `recentered` and `invariant` before training: random weights, float64, real images, every placement.

Usage: python benchmarks/invariant_exactness.py [--data fashion-mnist] [--images 50]

The images that `recentered` recenters must be identical at all placements and its logits equal to 1e-12, the logits of
`invariant` equal to 1e-9. Logits of different images must differ by more than 1e-2, so that a constant fails. The plain
model evaluates every placement of every image. Writes benchmarks/results/invariant-exactness.json; the exit code is 1
if a check fails.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

import shiftscope
from bench.machine import describe_machine
from shiftscope import files
from shiftscope.models import RecenteredNet, build_model
from shiftscope.models.forward import evaluating
from shiftscope.placement import Placement

RESULTS = Path(__file__).parent / "results" / "invariant-exactness.json"
ALLOWED = {"recentered": 1e-12, "invariant": 1e-9}
APART = 1e-2


def everywhere(model: nn.Module, image: torch.Tensor, place: Placement) -> tuple[torch.Tensor, bool | None]:
    """Return the logits (P, K) of one image at every placement, and True if all recentered images are equal."""
    offsets = place.offsets()
    pixels = place.place(image.expand(len(offsets), -1, -1, -1), offsets).double() / 255
    with evaluating(model):
        same = None
        if isinstance(model, RecenteredNet):
            windows = model.recenter(pixels)
            same = all(torch.equal(window, windows[0]) for window in windows)
        parts = [pixels[k:k + 1] for k in range(len(pixels))] if same is not None else list(pixels.split(29))
        return torch.cat([model(part) for part in parts]), same  # one at a time: nothing is shared


def measured(name: str, images: torch.Tensor, place: Placement) -> dict[str, object]:
    """Return the figures of one track."""
    model = build_model(name, canvas=place.canvas, channels=images.shape[1], seed=0).double()
    found = [everywhere(model, image[None], place) for image in images]
    logits = torch.stack([one for one, _ in found])  # (N, P, K)
    middle = logits[:, len(place.offsets()) // 2]
    apart = (middle[:, None] - middle[None]).abs().amax(2)
    apart.fill_diagonal_(torch.inf)
    drift = (logits - middle[:, None]).abs().max().item()
    same = [flag for _, flag in found if flag is not None]
    ok = drift <= ALLOWED[name] and apart.min().item() > APART and all(same)
    return {"model": name, "images": len(images), "placements": place.count, "largest_logit_difference": drift,
            "allowed": ALLOWED[name], "least_difference_between_images": apart.min().item(),
            "recentered_pictures_equal": sum(same) if same else None, "largest_logit": logits.abs().max().item(),
            "ok": ok}


def main() -> None:
    """Measure both tracks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--images", type=int, default=50)
    asked = parser.parse_args()
    data = shiftscope.load_dataset(asked.data)
    images = data.test.gather(torch.arange(min(asked.images, len(data.test))))
    place = Placement(image=data.shape[1:], canvas=(2 * data.shape[1], 2 * data.shape[2]))
    records = [measured(name, images, place) for name in ALLOWED]
    files.write_json(RESULTS, {"schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"),
                               "data": data.name, "dtype": "float64", "records": records,
                               "machine": describe_machine(torch.device("cpu"))})
    for record in records:
        print(record)
    sys.exit(0 if all(record["ok"] for record in records) else 1)


if __name__ == "__main__":
    main()
