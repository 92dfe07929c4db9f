"""Coverage of the 95 % intervals of sampled audits: the exact figures of all images at all placements.

    python benchmarks/sampled_coverage.py [--repetitions 200]

The population is the test split of the synthetic garments, its exact audit is computed once. Each repetition audits
other images (a random subset) at other placements, with `sample=` as the command line does.
"""

import argparse
import json

import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.data.base import Dataset, Subset, TensorImages
from shiftscope.placement import Placement

FIGURES = ("mean_accuracy", "consistency", "worst_case_accuracy", "unanimity")
PLACE = Placement(image=(8, 9), canvas=(21, 24))  # 14 x 16 placements


def population(count: int = 3000) -> Dataset:
    """Return images of three kinds of bars in noise."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count,), generator=draw)
    images = torch.randint(0, 170, (count, 1, 8, 9), generator=draw, dtype=torch.uint8)
    for cls, rows in enumerate(((0, 3), (3, 5), (5, 8))):
        images[labels == cls, :, rows[0]:rows[1]] += 60
    both = TensorImages(images, labels)
    return Dataset(name="bars", class_names=("a", "b", "c"), train=both, test=both, source="-", license="-")


def model() -> nn.Module:
    """Return a perceptron that was trained on random placements for a few steps: its accuracy depends on position."""
    data, draw = population(2000), torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(21 * 24, 32), nn.ReLU(), nn.Linear(32, 3))
    steps, offsets = torch.optim.Adam(net.parameters(), 2e-3), PLACE.offsets()
    near = offsets[((offsets - torch.tensor(PLACE.middle)).abs() <= 4).all(1)]
    for _ in range(400):
        chosen = torch.randint(0, 2000, (64,), generator=draw)
        where = near[torch.randint(0, len(near), (64,), generator=draw)]
        pixels = PLACE.place(data.test.gather(chosen), where) / 255
        steps.zero_grad()
        nn.functional.cross_entropy(net(pixels), data.test.labels[chosen]).backward()
        steps.step()
    return net.eval()


def coverage(repetitions: int, images: int, placements: int) -> dict:
    """Return the fraction of intervals that hold the exact figure, and the mean error of the estimates."""
    data, net = population(), model()
    exact = audit(net, data, placement=PLACE)
    hits, errors = dict.fromkeys(FIGURES, 0), dict.fromkeys(FIGURES, 0.0)
    for seed in range(repetitions):
        chosen = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(seed))[:images]
        some = Subset(data.test, chosen)
        part = Dataset(name="bars", class_names=data.class_names, train=some, test=some, source="-", license="-")
        found = audit(net, part, placement=PLACE, sample=placements, seed=seed, engine="brute")
        for name in FIGURES:
            low, high = found.intervals[name]
            hits[name] += low <= getattr(exact, name) <= high
            errors[name] += (getattr(found, name) - getattr(exact, name)) / repetitions
    return {"images": images, "placements": placements, "of": PLACE.count, "repetitions": repetitions,
            "exact": {name: round(getattr(exact, name), 4) for name in FIGURES},
            "coverage": {name: hit / repetitions for name, hit in hits.items()},
            "mean_error": {name: round(error, 4) for name, error in errors.items()}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    torch.set_num_threads(1)
    for size in ((300, 8), (300, 30), (1000, 100)):
        print(json.dumps(coverage(parser.parse_args().repetitions, *size)), flush=True)
