"""Sources of models: files with code are loaded only if trusted, and every file gives the outputs of its model."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.errors import CheckpointError, ShiftscopeError, UsageError
from shiftscope.models import TwoFullNet, open_source, save
from shiftscope.models.sources import check_source, kind_of

PIXELS = torch.rand(5, 3, 9, 11, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, pixels):
        return self.head(self.conv(pixels).relu().mean((2, 3)))


class WritesWhileLoading(nn.Module):
    """TorchScript runs `__setstate__` while it loads, and `torch.save` writes a file."""

    path: str

    def __init__(self, path):
        super().__init__()
        self.path, self.training = path, False

    @torch.jit.export
    def __getstate__(self):
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path, self.training = state[0], state[1]
        torch.save(torch.zeros(1), self.path)

    def forward(self, pixels):
        return pixels.mean((2, 3))


class RunsPython:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def exported(net, path, batch=None):
    sizes = ({0: torch.export.Dim("batch")},) if batch is None else None
    torch.export.save(torch.export.export(net, (PIXELS[:batch or 2],), dynamic_shapes=sizes), path)
    return path


def with_pickle(path, harm):
    """Replace all weights and example inputs in a .pt2 file by a pickle that runs Python."""
    buffer = io.BytesIO()
    torch.save({"x": RunsPython(str(harm))}, buffer)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, buffer.getvalue() if name.endswith(".pt") else content)


# ---------------------------------------------------------------------- files that run code

def test_torchscript_that_writes_a_file_is_loaded_only_if_trusted(tmp_path):
    harm = tmp_path / "harm"
    torch.jit.script(WritesWhileLoading(str(harm))).save(tmp_path / "net.pt")
    with pytest.raises(UsageError, match="can run code and write files while it loads.*--trust-model-file"):
        shiftscope.load_model(tmp_path / "net.pt")
    assert not harm.exists()
    shiftscope.load_model(tmp_path / "net.pt", trust_model_file=True)
    assert harm.exists()  # the file does what the message says


def test_an_exported_program_that_runs_python_is_loaded_only_if_trusted(net, tmp_path):
    harm = tmp_path / "harm"
    with_pickle(exported(net, tmp_path / "net.pt2"), harm)
    with pytest.raises(UsageError, match="torch.export file, which can run code.*--trust-model-file"):
        shiftscope.load_model(tmp_path / "net.pt2")
    assert not harm.exists()
    with pytest.raises(CheckpointError, match="not a readable torch.export file"):
        shiftscope.load_model(tmp_path / "net.pt2", trust_model_file=True)
    assert harm.exists()


def test_a_pickled_module_is_refused_even_if_trusted(tmp_path):
    for legacy in (False, True):
        torch.save(RunsPython(str(tmp_path / "harm")), tmp_path / "net.pt", _use_new_zipfile_serialization=not legacy)
        for trusted in (False, True):
            with pytest.raises(CheckpointError, match="pickle of torch.save|of another format"):
                shiftscope.load_model(tmp_path / "net.pt", trust_model_file=trusted)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name", ["net.pt2", "net.pt"])
def test_truncated_missing_and_foreign_files(net, tmp_path, name):
    path = tmp_path / name
    if name == "net.pt":
        torch.jit.script(net).save(path)
    else:
        exported(net, path)
    whole = path.read_bytes()
    for content in (whole[:len(whole) // 2], b"", b"no model"):
        path.write_bytes(content)
        for trusted in (False, True):
            with pytest.raises(CheckpointError, match=r"is not a readable .* file .*truncated"):
                shiftscope.load_model(path, trust_model_file=trusted)
    path.unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        shiftscope.load_model(path, trust_model_file=True)
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="named pipe|expected a regular file"):
        shiftscope.load_model(path, trust_model_file=True)


# ---------------------------------------------------------------------- outputs equal those of the model

@pytest.mark.parametrize("name", ["net.pt", "net.ts", "net.pt2", "fixed.pt2", "net.PT2"])
@pytest.mark.parametrize("normalize", [None, ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))])
def test_trusted_files_return_the_outputs_of_the_model(net, tmp_path, name, normalize):
    path = tmp_path / name
    if path.suffix in (".pt", ".ts"):
        torch.jit.script(net).save(path)
    else:
        exported(net, path, 3 if name == "fixed.pt2" else None)
    source = open_source(path, trust_model_file=True, normalize=normalize)
    mean, std = (torch.tensor(part)[:, None, None] for part in normalize or ((0.0,), (1.0,)))
    with torch.no_grad():
        torch.testing.assert_close(source.model(PIXELS), net((PIXELS - mean) / std))
    if path.suffix.lower() == ".pt2":
        assert (source.info.channels, source.info.input_size) == (3, (9, 11))
    assert source.name == name and not source.model.training
    assert source.info.mean == (None if normalize is None else normalize[0])


def test_a_checkpoint_says_its_input(tmp_path):
    folder = save(TwoFullNet(N=5, canvas=(30, 34), classes=4), tmp_path / "net")
    info = open_source(folder).info
    assert (info.channels, info.input_size, info.mean) == (1, (30, 34), None)


# ---------------------------------------------------------------------- bad sources

@pytest.mark.parametrize(("source", "message"), [
    ("keras:resnet-50", "unknown model source 'keras:resnet-50'"),
    ("nowhere", "there is no checkpoint at nowhere"),
    ("weights.safetensors", "file of weights.*--weights FILE"),
    ("weights.pkl", "file of weights"),
    ("two-conv", "without trained weights"),
    ("two-con", "there is no checkpoint"),
    ("timm:hf-hub:someone/net", "must name a model of timm itself.*hf:NAME"),
    ("timm:local-dir:folder", "must name a model of timm itself"),
    ("timm:hf_hub:someone/net@none", "must name a model of timm itself"),
    ("timm:../net", "must name a model of timm itself"),
    ("timm:resnet18@a1", "must have the form timm:NAME"),
    ("torchvision:", "must have the form torchvision:NAME"),
    ("hf:", "must have the form hf:NAME_OR_FOLDER"),
    ("hf:net@none", "must have the form hf:NAME_OR_FOLDER"),
])
def test_unknown_sources(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ShiftscopeError, match=message) as caught:
        shiftscope.load_model(source)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(("hub", "extra"), [("torchvision", "vision"), ("timm", "vision"), ("hf", "hf")])
def test_a_missing_package_names_its_extra(hub, extra, monkeypatch):
    package = "transformers" if hub == "hf" else hub
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(UsageError, match=rf"needs {package}, which is not installed.*shiftscope\[{extra}\]"):
        check_source(f"{hub}:name")


def test_a_name_that_is_also_a_file_is_ambiguous(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("timm:resnet18", "mymodels:Net"):
        (tmp_path / name).mkdir()
        with pytest.raises(UsageError, match="ambiguous"):
            shiftscope.load_model(name)
        assert kind_of(f"./{name}") == "checkpoint"


def test_options_that_a_source_does_not_have(net, tmp_path):
    folder = save(TwoFullNet(N=5), tmp_path / "net")
    torch.save(net.state_dict(), tmp_path / "w.pt")
    for options, message in (({"normalize": (0.5, 0.5)}, "its own normalization"), ({"select_output": 0}, "its output"),
                             ({"weights": tmp_path / "w.pt"}, "holds its own")):
        with pytest.raises(UsageError, match=message):
            shiftscope.load_model(folder, **options)
    with pytest.raises(UsageError, match="holds its own.*timm:resnet18@none"):
        check_source("timm:resnet18", tmp_path / "w.pt")


def test_images_of_another_size(net, tmp_path):
    exported(net, tmp_path / "net.pt2")
    model = shiftscope.load_model(tmp_path / "net.pt2", trust_model_file=True)
    images = np.zeros((4, 12, 12, 3), np.uint8)
    data = shiftscope.from_arrays(images, [0, 1, 2, 0], images, [0, 1, 2, 0])
    with pytest.raises(UsageError, match="ExportedProgram cannot take images of 3 x 20 x 20"):
        shiftscope.audit(model, data, placement=shiftscope.Placement(image=(12, 12), canvas=(20, 20)))
