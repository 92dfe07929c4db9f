"""Evaluate class images: do they exceed every test image, and do other nets classify them correctly?

Usage: python benchmarks/synthesis_quality.py OTHER_SEED JUDGE [--checkpoint examples/checkpoints/two-conv]

The default settings are compared with plain gradient ascent. OTHER_SEED is a checkpoint of the same model trained with
another seed, JUDGE one of `judge_net:ResidualNet`, as `shiftscope run --models judge_net:ResidualNet` writes it. Each
test image is at one random placement; scores are those before the softmax. Rows are printed and written to
benchmarks/results/.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.hooks import SoftmaxInput
from shiftscope.models.forward import evaluating, to_pixels
from shiftscope.runs import find_checkpoint
from shiftscope.settings import PLAIN_ASCENT, SynthesisSettings

sys.path.insert(0, str(Path(__file__).parent))
from judge_net import ResidualNet

RESULTS = Path(__file__).parent / "results" / "synthesis-quality.json"
PLACEMENT_SEED = 1


def scores_of(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """Return the scores before the softmax, (B, classes)."""
    chunks = []
    with evaluating(model):
        for chunk in pixels.split(250):
            with SoftmaxInput() as watch:
                output = model(chunk)
            chunks.append(watch.logits(output))
    return torch.cat(chunks)


def best_test_scores(model: nn.Module, data: shiftscope.Dataset, placement: shiftscope.Placement) -> torch.Tensor:
    """Return each class's highest score over all test images, (classes,)."""
    best = []
    for indices in torch.arange(len(data.test)).split(1000):
        canvases = placement.place(data.test.gather(indices), placement.sample(indices, seed=PLACEMENT_SEED))
        best.append(scores_of(model, to_pixels(canvases)).amax(0))
    return torch.stack(best).amax(0)


def row(model: nn.Module, settings: SynthesisSettings, best: torch.Tensor, judges: dict[str, nn.Module],
        data: shiftscope.Dataset) -> dict:
    """Return the figures of one setting."""
    found = shiftscope.visualize(model, "class:all", settings=settings, class_names=data.class_names)
    pixels, classes = torch.from_numpy(found.images), torch.arange(data.classes)
    own = scores_of(model, pixels).diagonal()
    named = {name: scores_of(judge, pixels).argmax(1) == classes for name, judge in judges.items()}
    all_agree = torch.stack(list(named.values())).all(0)
    return {"preset": found.settings["preset"], "steps": found.steps.tolist(), "seconds": round(found.seconds, 2),
            "exceed every test image": int((own > best).sum()),
            "share of best test score": [round(float(share), 2) for share in own / best],
            **{f"named right by {name}": int(right.sum()) for name, right in named.items()},
            "named right by both": int(all_agree.sum()),
            "not named by both": [data.class_names[k] for k in (~all_agree).nonzero().flatten().tolist()]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other_seed", type=Path)
    parser.add_argument("judge", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=Path("examples/checkpoints/two-conv"))
    asked = parser.parse_args()
    data = shiftscope.load_dataset("fashion-mnist")
    placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
    model = shiftscope.load(find_checkpoint(asked.checkpoint))
    judges = {"another seed": shiftscope.load(find_checkpoint(asked.other_seed)),
              "another architecture": shiftscope.load(find_checkpoint(asked.judge), model=ResidualNet())}
    best = best_test_scores(model, data, placement)
    rows = {}
    for name, settings in (("default", SynthesisSettings()), ("plain ascent", PLAIN_ASCENT)):
        rows[name] = row(model, settings, best, judges, data)
        print(name, *(f"  {key}: {value}" for key, value in rows[name].items()), sep="\n")
    files.write_json(RESULTS, {"test_images": len(data.test), "placement_seed": PLACEMENT_SEED, "rows": rows})


if __name__ == "__main__":
    main()
