"""Train the two course models on Fashion-MNIST, seed 0, and keep them in examples/checkpoints/ (`make checkpoints`).

Weights and description are kept, the training state is not. About ten minutes on two cores.
"""

import shutil
import tempfile
from pathlib import Path

from shiftscope.progress import default_progress
from shiftscope.settings import DataSettings, TrainSettings
from shiftscope.workflows.train_models import train_one

KEPT = Path(__file__).parents[1] / "examples" / "checkpoints"


def main() -> None:
    """Train and copy, model by model."""
    for name in ("two-full", "two-conv"):
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "run"
            result = train_one(name, DataSettings(data="fashion-mnist"), TrainSettings(), out=out,
                               progress=default_progress())
            folder = KEPT / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in ("model.safetensors", "config.json"):
                shutil.copyfile(out / (result.checkpoint or "") / file, folder / file)
            print(f"{folder}: validation accuracy {result.history[-1]['val_accuracy']:.4f}")


if __name__ == "__main__":
    main()
