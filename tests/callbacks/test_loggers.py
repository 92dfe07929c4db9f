"""The real loggers, without network: TensorBoard, Weights & Biases and Lightning, where they are installed."""

import csv
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftscope.callbacks import AuditCallback, log_audit
from shiftscope.callbacks.epoch_audit import METRICS
from shiftscope.errors import UsageError

from .conftest import PLACE

WORKER = Path(__file__).with_name("lightning_worker.py")


def test_tensorboard_holds_the_metrics_by_epoch(net, data, tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard: pip install -e .[dev]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        audits = [log_audit(net, data, split="test", images=20 + epoch, placement=PLACE, to=writer, epoch=epoch)
                  for epoch in (0, 1)]
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {f"audit/{name}" for name in (*METRICS, "seconds")}
    for name in METRICS:
        points = [(point.step, point.value) for point in events.Scalars(f"audit/{name}")]
        assert points == [(epoch, pytest.approx(getattr(one, name))) for epoch, one in enumerate(audits)]


def records(path: Path):
    """Yield the records of a file of an offline run: blocks of 32 KiB of checksum, length and type before each part."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at:at + 7])
        whole += data[at + 7:at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # complete, or the last part
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def test_wandb_holds_the_metrics_with_the_epoch_as_axis(net, data, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs wandb: pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.raises(UsageError, match=r"the module 'wandb' without an active run; call wandb.init\(\) first"):
        log_audit(net, data, split="test", placement=PLACE, to=wandb)
    run = wandb.init(project="test", dir=tmp_path)
    audits = []
    for epoch, target in enumerate((run, wandb)):
        for batch in range(5):
            run.log({"loss": batch})  # steps of the run are ahead of the epochs
        audits.append(log_audit(net, data, split="test", images=20 + epoch, placement=PLACE, to=target, epoch=epoch))
    run.finish()
    (path,) = tmp_path.rglob("*.wandb")
    found = list(records(path))
    history = [{item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
               for record in found if record.WhichOneof("record_type") == "history"]
    lines = [{name: float(value) for name, value in line.items() if name.startswith("audit/")}
             for line in history if "audit/epoch" in line]
    assert [line.pop("audit/epoch") for line in lines] == [0, 1]
    for line, one in zip(lines, audits, strict=True):
        assert {name: line[f"audit/{name}"] for name in METRICS} == {
            name: pytest.approx(getattr(one, name)) for name in METRICS}
    axes = [(record.metric.glob_name, record.metric.step_metric) for record in found
            if record.WhichOneof("record_type") == "metric"]
    assert ("audit/*", "audit/epoch") in axes


@pytest.fixture(scope="module")
def fits(tmp_path_factory) -> dict[str, tuple[list[dict[str, np.ndarray]], str]]:
    """The results of each rank, and the output, of trainings with Lightning."""
    pytest.importorskip("lightning", reason="needs Lightning: pip install lightning")
    found = {}
    for name in ("one", "without", "two", "invalid"):
        out = tmp_path_factory.mktemp(name)
        done = subprocess.run([sys.executable, str(WORKER), name, str(out)], capture_output=True, text=True,
                              timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"})
        assert (done.returncode == 0) == (name != "invalid"), done.stderr
        found[name] = [dict(np.load(path)) for path in sorted(out.glob("rank-*.npz"))], out, done.stderr
    return found


@pytest.mark.slow
def test_lightning_trains_the_same_model(fits):
    (audited,), (plain,) = fits["one"][0], fits["without"][0]
    assert np.array_equal(audited["weights"], plain["weights"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "two"])
def test_lightning_logs_and_monitors_the_metrics(fits, kind):
    ranks, folder, _ = fits[kind]
    assert len(ranks) == {"one": 1, "two": 2}[kind]
    audit, logged = ranks[0]["audit"], [rank["logged"] for rank in ranks]
    assert audit[:3] == pytest.approx(logged[0], abs=1e-6) and (logged[0] == logged[-1]).all()
    (path,) = folder.rglob("metrics.csv")
    with path.open() as file:
        lines = [line for line in csv.DictReader(file) if line.get("audit/consistency")]
    assert [line["epoch"] for line in lines] == ["1", "3"]  # every second epoch
    assert [float(lines[-1][f"audit/{name}"]) for name in METRICS] == pytest.approx(audit[:3].tolist(), abs=1e-6)
    assert float(ranks[0]["best"]) == pytest.approx(max(float(line["audit/consistency"]) for line in lines), abs=1e-6)
    assert [int(rank["audit"][3]) for rank in ranks[1:]] == [0] * (len(ranks) - 1)  # audited by the first alone


@pytest.mark.slow
def test_an_error_of_the_first_audit_ends_all_processes_before_training(fits):
    ranks, _, text = fits["invalid"]
    assert ranks == [] and "unknown output type 'scores'; choose from" in text


@pytest.mark.parametrize("options, message", [
    ({"every_n_epochs": 0}, "every_n_epochs must be an integer of at least 1, got 0"),
    ({"get_model": 3}, "get_model must be a function of the LightningModule, got 3")])
def test_bad_arguments_of_the_callback_are_refused(data, options, message):
    pytest.importorskip("lightning", reason="needs Lightning: pip install lightning")
    with pytest.raises(UsageError, match=message):
        AuditCallback(data, split="test", **options)


def test_strategies_that_split_the_model_are_refused(data):
    pytest.importorskip("lightning", reason="needs Lightning: pip install lightning")
    from types import SimpleNamespace

    strategy = type("FSDPStrategy", (), {})()
    with pytest.raises(UsageError, match="cannot be used with FSDPStrategy, which splits the model"):
        AuditCallback(data, split="test").on_fit_start(SimpleNamespace(strategy=strategy), torch.nn.Identity())
