"""Trains with Lightning in one or two processes and stores what each process holds as OUT/rank-R.npz.

Usage: lightning_worker.py one|without|two|invalid OUT
"""

import sys
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).parents[1]))

from callbacks.conftest import PLACE, Net, bright

from shiftscope.callbacks import AuditCallback
from shiftscope.callbacks.epoch_audit import METRICS
from shiftscope.data.base import Dataset

DATA = Dataset(name="bright", class_names=("dark", "gray", "bright"), train=bright(150, 0), test=bright(90, 1),
               source="made by the test", license="MIT", synthetic=True)


class Module(L.LightningModule):
    """A LightningModule whose forward is not the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.net(x), "features": x}

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self(batch[0])["logits"], batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def main(kind: str, out: Path) -> None:
    L.seed_everything(1)
    indices = torch.arange(150)
    canvases = PLACE.place(DATA.train.gather(indices), PLACE.sample(indices, seed=0)).float() / 255
    loader = DataLoader(TensorDataset(canvases, DATA.train.labels), batch_size=32, shuffle=True)
    callback = AuditCallback(DATA, split="test", placement=PLACE, every_n_epochs=2, get_model=lambda module: module.net,
                             **({"output_type": "scores"} if kind == "invalid" else {}))
    best = ModelCheckpoint(dirpath=out / "best", monitor="audit/consistency", mode="max", every_n_epochs=2)
    stop = EarlyStopping(monitor="audit/consistency", mode="max", patience=9, strict=False)
    callbacks = [] if kind == "without" else [best, stop, callback]
    trainer = L.Trainer(
        max_epochs=4, accelerator="cpu", devices=1 if kind in ("one", "without") else 2, callbacks=callbacks,
        strategy="auto" if kind in ("one", "without") else "ddp", enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=bool(callbacks), logger=CSVLogger(out / "csv"),
        log_every_n_steps=1)
    module = Module()
    trainer.fit(module, loader)
    found = callback.audit
    values = [0.0] * 4 if found is None else [*(getattr(found, name) for name in METRICS), found.images]
    logged = [float(trainer.callback_metrics.get(f"audit/{name}", 0)) for name in METRICS]
    weights = torch.cat([value.detach().flatten().float() for value in module.state_dict().values()])
    np.savez(out / f"rank-{trainer.global_rank}.npz", weights=weights.numpy(), audit=np.array(values),
             logged=np.array(logged), best=float(best.best_model_score or 0))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
