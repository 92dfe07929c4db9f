"""What is read: for each reader a folder of whole files, and the calls that read it and use what they found."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import shiftscope
from shiftscope import files
from shiftscope.auditing import audit
from shiftscope.auditing.equivariance import equivariance
from shiftscope.data import from_arrays, load_dataset
from shiftscope.data.base import Dataset
from shiftscope.data.fashion_mnist import FASHION_MNIST
from shiftscope.data.packing import from_dataset, pack
from shiftscope.data.published import find
from shiftscope.errors import ShiftscopeError
from shiftscope.models import InvariantNet, OnnxModel, TwoConvTwoFullNet, TwoFullNet, load, save
from shiftscope.models.onnx_file import SUFFIX
from shiftscope.models.repair import repair
from shiftscope.notebook.summary import summary
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import load_record
from shiftscope.runs import MetricsLog, RunFolder
from shiftscope.settings import SynthesisSettings, TrainSettings
from shiftscope.training.fit import train
from shiftscope.visualization import attribute, visualize
from shiftscope.visualization.activation_statistics import unit_table
from shiftscope.visualization.neighbors import find_neighbors
from shiftscope.visualization.quality import measure_quality
from shiftscope.workflows.compare_runs import compare_runs
from shiftscope.workflows.load_inputs import add_data, open_checkpoint
from shiftscope.workflows.repair_checkpoint import RepairOptions, finetune_settings
from shiftscope.workflows.report.gather import read_run
from shiftscope.workflows.report.page import report_runs

PLACE = Placement(image=(8, 8), canvas=(16, 18))
NAMES = ("top", "middle", "bottom")

@dataclass(frozen=True)
class Reader:
    """One reader.

    Args:
        make: fills an empty folder with whole files.
        read: reads a copy of that folder; may write into the second folder only.
        share: how often it is chosen, relative to the others.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path, Path], None]
    share: float


# ---------------------------------------------------------------------- whole files

def bars(train_images: int = 40, test_images: int = 20) -> dict[str, np.ndarray]:
    """Images of 8 x 8 in three classes: a bright bar at the top, in the middle, at the bottom."""
    arrays, draw = {}, np.random.default_rng(0)
    for split, count in (("train", train_images), ("test", test_images)):
        labels = np.arange(count) % 3
        images = draw.integers(0, 60, (count, 8, 8), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[1 + 2 * label:3 + 2 * label] = 240
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    return arrays


def data() -> Dataset:
    return from_arrays(*bars().values(), NAMES, name="bars")


def perceptron() -> TwoFullNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoFullNet(5, canvas=PLACE.canvas, classes=3)


def make_checkpoint(folder: Path) -> None:
    garments, place = load_dataset("garments:20,10"), Placement(image=(28, 28), canvas=(30, 31))
    settings = TrainSettings(epochs=1, micro_batch=0)
    train(TwoFullNet(3, canvas=place.canvas), garments, placement=place, settings=settings, folder=folder / "net")


def make_state(folder: Path) -> None:
    train(perceptron(), data(), placement=PLACE, settings=TrainSettings(epochs=1, micro_batch=0), folder=folder / "net")


def make_repaired(folder: Path) -> None:
    provenance = shiftscope.models.Provenance(name="net", dataset="garments:20,10", class_names=list(NAMES),
                                              placement=PLACE.to_dict(), settings=TrainSettings().to_dict())
    net = TwoConvTwoFullNet(canvas=(16, 16), classes=3)
    save(repair(net.eval(), (1, 16, 16), method="polyphase"), folder / "polyphase", provenance=provenance)
    save(repair(perceptron().eval(), (1, *PLACE.canvas), method="placement-average", image=(8, 8)), folder / "average",
         provenance=provenance)
    save(InvariantNet(canvas=(16, 16), classes=3), folder / "invariant", provenance=provenance)


def make_foreign(folder: Path) -> None:
    save(shiftscope.models.adapt.adapt(foreign(), normalize=((0.1, 0.2, 0.3), 0.5)), folder / "net")


def foreign() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))


def make_run(folder: Path) -> None:
    """Make what `shiftscope run` and `visualize` leave, without their figures."""
    run, net, key = RunFolder(folder / "run"), perceptron(), "two-full-seed0"
    settings = {"data": {"data": "npz:bars.npz"}, "run": {"models": ["two-full"], "seed": 0, "seeds": 1,
                                                          "controls": False, "audit": True}}
    run.path.mkdir()
    run.write_environment({"schema_version": 1, "command": ["shiftscope", "run"], "seed": 0, "settings": settings,
                           "started": "2026-01-02T03:04:05+00:00", "dataset": {"name": "bars", "synthetic": False}})
    trained = train(net, data(), placement=PLACE, settings=TrainSettings(epochs=2, micro_batch=0),
                    folder=run.checkpoint(key))
    trained.save(run.result(key, "training"))
    for line in trained.history:
        run.log.append({"job": key, "model": "two-full", "seed": 0, **line, "epochs": 2, "epoch_seconds": 1.0})
    shiftscope.evaluate(net, data(), placement=PLACE, name="two-full").save(run.result(key, "test"))
    audit(net, data(), placement=PLACE, name="two-full", trained="random").save(run.result(key, "audit"))
    files.write_json(run.metrics, {"schema_version": 1, "models": [], "controls": [], "paused": None,
                                   "dataset": {"name": "bars", "canvas": [16, 18]}})
    files.write_json(run.path / "results" / "parameters.json", {
        "schema_version": 1, "model": "two-full", "parameters": [
            {"name": "fc1.weight", "shape": [5, 288], "count": 1440, "mean": 0.0, "std": 0.1, "norm": 1.0}]})
    run.figures.mkdir()
    Image.new("L", (12, 9), 128).save(run.figures / "samples.png")


def make_records(folder: Path) -> None:
    """Make one result of each kind that looks inside a model."""
    net, some = perceptron(), data()
    pixels = torch.rand(2, 1, *PLACE.canvas, generator=torch.Generator().manual_seed(0))
    made = visualize(net, "class:all", settings=SynthesisSettings(steps=2, views=1, seed=1))
    found = find_neighbors(net, ["class:all"], some, placement=PLACE.narrowed(step=4),
                            k=2)[0]
    for record in (made, found, measure_quality(net, made), attribute(net, pixels, 0, method="saliency"),
                   equivariance(net, some, placement=PLACE), unit_table(net, some, placement=PLACE)):
        record.save(folder / record.kind)


def make_npz(folder: Path) -> None:
    np.savez_compressed(folder / "bars.npz", **bars(), class_names=np.array(NAMES))
    np.savez(folder / "plain.npz", **bars(), class_names=np.array(NAMES))
    np.save(folder / "one.npy", bars()["test_images"])


def make_idx(folder: Path) -> None:
    import gzip

    arrays = bars()
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (40, 8, 8))
    labels = bytes([0, 0, 8, 1]) + (40).to_bytes(4, "big") + arrays["train_labels"].astype(np.uint8).tobytes()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + arrays["train_images"].tobytes()))
    for name in ("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (folder / name).write_bytes(labels)


def make_csv(folder: Path) -> None:
    arrays = bars()
    for part in ("train", "test"):
        rows = np.column_stack([arrays[f"{part}_labels"], arrays[f"{part}_images"].reshape(-1, 64)])
        head = ",".join(["label", *(f"pixel{number}" for number in range(64))])
        np.savetxt(folder / f"{part}.csv", rows, fmt="%d", delimiter=",", header=head, comments="")


def make_emnist(folder: Path) -> None:
    arrays = bars()
    for part, name in (("train", "train"), ("test", "t10k")):
        for what, axes in (("images", 3), ("labels", 1)):
            values = arrays[f"{part}_{what}"].astype(np.uint8)
            header = bytes([0, 0, 8, axes]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (folder / f"{name}-{what}-idx{axes}-ubyte").write_bytes(header + values.tobytes())


def make_packed(folder: Path) -> None:
    pack(from_dataset(data()), folder / "bars.pack")


def make_pictures(folder: Path) -> None:
    for label, name in enumerate(NAMES[:2]):
        (folder / "set" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((8, 8, 3), 40 * number + label, np.uint8)
            Image.fromarray(pixels).save(folder / "set" / name / f"{number}.{'jpg' if number == 3 else 'png'}")


def make_onnx(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["pixels"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["outputs"])],
        "net", [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / f"net{SUFFIX}")


def make_toml(folder: Path) -> None:
    (folder / "shiftscope.toml").write_text('[data.info]\nlimit = 5\n[run]\nmodels = ["two-full"]\nepochs = 3\n'
                                            'canvas = "20x24"\n[audit]\nfail-under = "mean=0.5"\n')


def make_cache(folder: Path) -> None:
    with cached_in(folder):
        load_dataset("garments:20,10")
    files.write_json(folder / "shiftscope" / "trials.json", {"schema_version": 1, "micro_batch": {"a": 3}})


# ---------------------------------------------------------------------- reading them

def look(some: Dataset) -> None:
    """Use a dataset as commands do: every image, and what there is to say about it."""
    shiftscope.data.dataset_info(some)
    for images in (some.train, some.test):
        images.gather(torch.arange(len(images)))


def read_checkpoint(folder: Path, out: Path) -> None:
    trained = open_checkpoint(folder / "net", device="cpu")
    finetune_settings(trained, RepairOptions(method="recenter", finetune=1))
    named = trained.config.provenance.dataset
    subject = add_data(trained, {"data": "garments:20,10"} if named == "garments" else {}, SilentProgress())
    found = shiftscope.evaluate(subject.model, subject.data, placement=subject.placement, name=subject.name,
                                validation=subject.validation, trained=subject.trained)
    found.save(out / "evaluation")
    summary(load_record(out / "evaluation"))


def try_model(model: nn.Module, shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        model(torch.zeros(1, *shape))


def read_repaired(folder: Path, out: Path) -> None:
    for one in sorted(folder.iterdir()):
        trained = open_checkpoint(one, device="cpu")
        try_model(trained.model, (trained.channels, *getattr(trained.model, "input_shape", PLACE.canvas)[-2:]))
        add_data(trained, {}, SilentProgress())


def read_foreign(folder: Path, out: Path) -> None:
    try_model(load(folder / "net", model=foreign()), (3, 8, 8))


def read_state(folder: Path, out: Path) -> None:
    """Go on with a training, in a folder of links to the files: it replaces them."""
    shutil.copytree(folder / "net", out / "net", symlinks=True, copy_function=os.link)
    train(perceptron(), data(), placement=PLACE, settings=TrainSettings(epochs=1, micro_batch=0), folder=out / "net",
          resume=True)


def read_whole_run(folder: Path, out: Path) -> None:
    from shiftscope.server.run_files import RunFiles
    from shiftscope.server.run_state import run_state

    run = folder / "run"
    failures = []
    for use in (lambda: run_state(RunFiles(run), 0.0), lambda: MetricsLog(run / "metrics.jsonl").read(),
                lambda: RunFolder(run).read_environment(), lambda: read_run(run),
                lambda: compare_runs(run, run, progress=SilentProgress())):
        try:
            use()
        except ShiftscopeError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def read_report(folder: Path, out: Path) -> None:
    report_runs([folder / "run"], out=out / "report.html", device="cpu", progress=SilentProgress())


def read_records(folder: Path, out: Path) -> None:
    failures = []
    for one in sorted(folder.iterdir()):
        try:
            summary(load_record(one))
        except ShiftscopeError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def read_pages(folder: Path, out: Path) -> None:
    shiftscope.report([load_record(folder / kind) for kind in ("synthesis", "neighbors", "quality", "equivariance")],
                      out / "report.html")


def read_npz(folder: Path, out: Path) -> None:
    failures = []
    for one in sorted(folder.iterdir()):
        try:
            look(load_dataset(f"npz:{one}"))
        except ShiftscopeError as error:
            failures.append(error)
    raise failures[0]  # one.npy is refused at least


def read_idx_files(folder: Path, out: Path) -> None:
    for name in FASHION_MNIST.unpacked_sha256:
        path = find(name, [folder])
        if path is not None:
            FASHION_MNIST.read_verified(name, path)  # all have another SHA-256 than the real files


def read_csv(folder: Path, out: Path) -> None:
    look(load_dataset(f"csv:{folder / 'train.csv'},{folder / 'test.csv'}"))


def read_own_idx(folder: Path, out: Path) -> None:
    look(load_dataset(f"idx:{folder}"))


def read_packed(folder: Path, out: Path) -> None:
    look(load_dataset(f"packed:{folder / 'bars.pack'}"))


def read_pictures(folder: Path, out: Path) -> None:
    look(load_dataset(f"folder:{folder / 'set'}"))


def read_onnx(folder: Path, out: Path) -> None:
    model = OnnxModel(folder / f"net{SUFFIX}")
    with torch.no_grad():
        model(torch.zeros(2, 1, 8, 8))


def read_toml(folder: Path, out: Path) -> None:
    from shiftscope.cli import main

    said, before = io.StringIO(), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(["data", "info", "garments:20,10"])
    finally:
        os.chdir(before)
    if code not in (0, 2, 3) or "unexpected " in said.getvalue().replace("unexpected argument", ""):
        raise RuntimeError(f"exit code {code}: {said.getvalue()[:300]}")
    if code:
        raise ShiftscopeError(said.getvalue())


def read_cache(folder: Path, out: Path) -> None:
    from shiftscope.training import trial

    shutil.copytree(folder, out, dirs_exist_ok=True, symlinks=True, copy_function=os.link)
    with cached_in(out):
        load_dataset("garments:20,10")
        trial._remember("a", 7)


@contextlib.contextmanager
def cached_in(folder: Path):
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


READERS = (
    Reader("checkpoint", make_checkpoint, read_checkpoint, 5), Reader("repaired", make_repaired, read_repaired, 1.5),
    Reader("foreign", make_foreign, read_foreign, 2), Reader("state", make_state, read_state, 4),
    Reader("run", make_run, read_whole_run, 4), Reader("report", make_run, read_report, 0.7),
    Reader("records", make_records, read_records, 3), Reader("pages", make_records, read_pages, 0.4),
    Reader("npz", make_npz, read_npz, 4),
    Reader("idx", make_idx, read_idx_files, 2), Reader("own idx", make_emnist, read_own_idx, 2),
    Reader("csv", make_csv, read_csv, 2), Reader("packed", make_packed, read_packed, 2),
    Reader("pictures", make_pictures, read_pictures, 2), Reader("onnx", make_onnx, read_onnx, 2),
    Reader("toml", make_toml, read_toml, 2), Reader("cache", make_cache, read_cache, 1.5))
