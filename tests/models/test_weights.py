"""Files of weights: what is loaded equals the state_dict, and everything else is refused in one sentence."""

import json
import os
import pickle
import struct
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn

from shiftscope import load_model
from shiftscope.errors import CheckpointError, UsageError
from shiftscope.models import REGISTRY, build_model, load_weights, save
from shiftscope.progress import SilentProgress


class Net(nn.Module):
    def __init__(self, channels=3, classes=3):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, pixels):
        return self.head(torch.relu(self.bn(self.conv(pixels))).mean((2, 3)))


instance = Net()


@pytest.fixture
def net():
    torch.manual_seed(3)
    net = Net().train()
    net(torch.rand(4, 3, 8, 8))  # so that the running statistics differ from those of a new module
    return net


def written(path, content, **options):
    torch.save(content, path, **options)
    return path


def prefixed(weights, prefix):
    return {prefix + name: value for name, value in weights.items()}


FORMS = {
    "state_dict": (lambda net: net.state_dict(), []),
    "DataParallel": (lambda net: nn.DataParallel(net).state_dict(), ["'module.' was removed from the names"]),
    "compiled": (lambda net: torch.compile(net).state_dict(), ["'_orig_mod.' was removed from the names"]),
    "compiled and parallel": (lambda net: prefixed(net.state_dict(), "module._orig_mod."),
                              ["'module.' was removed", "'_orig_mod.' was removed"]),
    "compiled parts": (lambda net: {name.replace(".", "._orig_mod.", 1): value
                                    for name, value in net.state_dict().items()}, ["'_orig_mod.' was removed"]),
    "Lightning": (lambda net: {"state_dict": net.state_dict(), "epoch": 3, "lr": [0.1]}, ["the entry 'state_dict' of"]),
    "with optimizer": (lambda net: {"model": nn.DataParallel(net).state_dict(), "args": None,
                                    "optimizer": torch.optim.SGD(net.parameters(), 0.1, momentum=0.9).state_dict()},
                       ["the entry 'model' of", "'module.' was removed"]),
    "PyTorch 0.4": (lambda net: {name: value for name, value in net.state_dict().items() if "tracked" not in name}, []),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_weights_are_those_of_the_file(net, tmp_path, form, zipped):
    content, expected = FORMS[form]
    path, new = tmp_path / "net.pt", Net()
    notes = load_weights(new, written(path, content(net), _use_new_zipfile_serialization=zipped))
    assert len(notes) == len(expected) and all(part in note for part, note in zip(expected, notes, strict=True))
    for name, value in net.state_dict().items():
        assert name.endswith("tracked") or new.state_dict()[name].equal(value)


def test_safetensors_half_precision_and_wrapped_models(net, tmp_path):
    safetensors.torch.save_file(net.state_dict(), tmp_path / "net.safetensors")
    new = nn.DataParallel(Net())
    assert load_weights(new, tmp_path / "net.safetensors") == []
    assert new.module.head.weight.equal(net.head.weight)
    half = {name: value.half() if value.is_floating_point() else value for name, value in net.state_dict().items()}
    load_weights(new, written(tmp_path / "half.pt", half))
    assert new.module.head.weight.dtype == torch.float32
    assert new.module.head.weight.equal(net.head.weight.half().float())


def test_a_part_called_module_keeps_its_name(tmp_path):
    model = nn.ModuleDict({"module": nn.Linear(2, 3)})
    other = nn.ModuleDict({"module": nn.Linear(2, 3)})
    assert load_weights(other, written(tmp_path / "a.pt", model.state_dict())) == []
    assert load_weights(other, written(tmp_path / "b.pt", prefixed(model.state_dict(), "module."))) == [
        "'module.' was removed from the names of the weights"]
    assert other["module"].weight.equal(model["module"].weight)


# ---------------------------------------------------------------------- weights that do not fit

@pytest.mark.parametrize("change, message", [
    (lambda weights: weights | {"head.weight": torch.zeros(5, 8)},
     r"1 of another shape or type \(head.weight: 5 x 8 in the file, 3 x 8 in the model\)"),
    (lambda weights: {name: weights[name] for name in weights if "head" not in name},
     r"2 missing \(head.bias, head.weight\)"),
    (lambda weights: weights | {"fc.weight": torch.zeros(2)}, r"1 unexpected \(fc.weight\)"),
    (lambda weights: prefixed(weights, "model."), r"pass the weights of this model, with 'model.' removed from their"),
    (lambda weights: nn.Linear(2, 2).state_dict(), r"missing .*, 2 unexpected \(bias, weight\)"),
    (lambda weights: weights | {"head.bias": torch.zeros(3, dtype=torch.int64)},
     r"head.bias: torch.int64 in the file, torch.float32 in the model"),
    (lambda weights: weights | {"head.bias": torch.zeros(3, device="meta")}, r"head.bias: it is sparse, quantized or"),
    (lambda weights: weights | {"head.bias": torch.zeros(3).to_sparse()}, r"head.bias: it is sparse, quantized or"),
])
def test_other_weights_are_named_and_nothing_is_loaded(net, tmp_path, change, message):
    new = Net()
    before = {name: value.clone() for name, value in new.state_dict().items()}
    path = written(tmp_path / "net.pt", change(net.state_dict()))
    with pytest.raises(CheckpointError, match=rf"the weights in .*net.pt do not fit Net: .*{message}"):
        load_weights(new, path)
    assert all(new.state_dict()[name].equal(value) for name, value in before.items())


@pytest.mark.parametrize("content, message", [
    (lambda weights: {"model": weights, "ema": weights}, "holds several state_dicts, model, ema, expected one"),
    (lambda weights: {"epoch": 3, "loss": 0.4}, "holds a dictionary of epoch, loss, expected a state_dict"),
    (lambda weights: {}, "holds a dictionary of , expected a state_dict"),
    (lambda weights: torch.zeros(3), "holds Tensor, expected a state_dict"),
    (lambda weights: [1, 2], "holds list, expected a state_dict"),
])
def test_files_without_one_state_dict(net, tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        load_weights(net, written(tmp_path / "net.pt", content(net.state_dict())))


def test_a_model_without_weights(net, tmp_path):
    with pytest.raises(CheckpointError, match="Flatten has no weights"):
        load_weights(nn.Flatten(), written(tmp_path / "net.pt", net.state_dict()))


# ---------------------------------------------------------------------- files that are refused

class Command:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [
    lambda path, code: torch.save({"weight": code}, path),
    lambda path, code: torch.save({"weight": code}, path, _use_new_zipfile_serialization=False),
    lambda path, code: path.write_bytes(pickle.dumps(code)),
    lambda path, code: path.write_bytes(pickle.dumps(code, protocol=2))])
def test_code_in_a_file_does_not_run(tmp_path, write, recwarn):
    write(tmp_path / "net.pt", Command(tmp_path / "ran"))
    with pytest.raises(CheckpointError, match=r"holds (Python|pickled Python) objects.* was not read: load it where"):
        load_weights(Net(), tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists() and not recwarn.list


def test_a_pickled_module_is_refused(net, tmp_path):
    with pytest.raises(CheckpointError, match=r"holds Python objects \([\w.]*test_weights.Net\)"):
        load_weights(Net(), written(tmp_path / "net.pt", net))


def truncated(path, *, zipped):
    written(path, Net().state_dict(), _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:1500])


def with_header(path, header, length=None):
    content = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content)


def compressed(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", b"0" * 10**6)


def sparse_file(path):
    with path.open("wb") as file:
        file.truncate(8 * 10**12)


class HugeStorage(pickle.Pickler):
    """Writes a storage of 100 GB as the old format of torch.save describes it."""

    def persistent_id(self, value):
        return ("storage", torch.FloatStorage, "0", "cpu", 25 * 10**9, None) if isinstance(value, Command) else None


def huge_legacy(path):
    with path.open("wb") as file:
        for value in (0x1950a86a20f9469cfc6c, 1001, {"little_endian": True}):
            pickle.dump(value, file, protocol=2)
        HugeStorage(file, protocol=2).dump({"weight": Command(path)})
        pickle.dump(["0"], file, protocol=2)
        file.write(struct.pack("<q", 25 * 10**9))


@pytest.mark.parametrize("write, message", [
    (lambda path: truncated(path, zipped=True), "it is truncated, damaged or of another format"),
    (lambda path: truncated(path, zipped=False), "it is truncated, damaged or of another format"),
    (lambda path: path.write_bytes(b""), "it is truncated, damaged or of another format"),
    (lambda path: path.write_text("hello world"), "it is truncated, damaged or of another format"),
    (lambda path: with_header(path, {}, 10**11), "it is truncated, damaged or of another format"),
    (lambda path: with_header(path, {"w": {"dtype": "F32", "shape": [25 * 10**9], "data_offsets": [0, 10**11]}}),
     "it is truncated, damaged or of another format"),
    (huge_legacy, "it is truncated, damaged or of another format|holds"),
    (compressed, "its members are compressed"),
    (sparse_file, "it holds 8,000,000,000,000 bytes, the limit for such a file is"),
    (os.mkfifo, "it is a named pipe, expected a regular file"),
    (os.mkdir, "it is a folder, expected a regular file"),
    (lambda path: path.symlink_to("/dev/zero"), "it is a device, expected a regular file"),
    (lambda path: None, "No such file or directory"),
    (lambda path: torch.jit.script(Net()).save(str(path)), "it is no file of torch.save but another archive, such as"),
    (lambda path: torch.export.save(torch.export.export(Net().eval(), (torch.rand(2, 3, 8, 8),)), path),
     "it is no file of torch.save but another archive, such as"),
])
@pytest.mark.filterwarnings("ignore")
def test_files_that_are_refused(tmp_path, write, message):
    write(tmp_path / "net.pt2")
    with pytest.raises(CheckpointError, match=message) as raised:
        load_weights(Net(), tmp_path / "net.pt2")
    assert len(str(raised.value)) < 400 and "\n" not in str(raised.value)


def test_lazy_layers_take_weights_of_any_shape_that_fits_into_memory(tmp_path):
    lazy = nn.LazyLinear(3)
    load_weights(lazy, written(tmp_path / "a.pt", nn.Linear(5, 3).state_dict()))
    assert lazy.weight.shape == (3, 5)
    huge = {"weight": torch.zeros(1).expand(10**7, 10**7), "bias": torch.zeros(1).expand(10**7)}
    with pytest.raises(CheckpointError, match="take more than the memory of this machine"):
        load_weights(nn.LazyLinear(10**7), written(tmp_path / "b.pt", huge))


# ---------------------------------------------------------------------- models by source

class Notes(SilentProgress):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def test_a_class_is_built_and_gets_its_weights(net, tmp_path):
    path = written(tmp_path / "net.pt", {"state_dict": net.state_dict()})
    heard, pixels = Notes(), torch.rand(2, 3, 12, 12)
    model = load_model(f"{__name__}:Net", weights=path, canvas=(12, 12), channels=3, classes=3, progress=heard)
    assert not model.training and model(pixels).equal(net.eval()(pixels))
    assert heard.notes == ["the weights are the entry 'state_dict' of net.pt"]
    normalized = load_model(f"{__name__}:Net", weights=path, canvas=(12, 12), channels=3, classes=3,
                            normalize=(0.5, 0.25))
    assert torch.allclose(normalized(pixels), net((pixels - 0.5) / 0.25), atol=1e-6)


def test_an_object_of_the_caller_is_not_changed(net, tmp_path):
    before = instance.head.weight.clone()
    model = load_model(f"{__name__}:instance", weights=written(tmp_path / "net.pt", net.state_dict()), channels=3)
    assert model.head.weight.equal(net.head.weight)
    assert instance.head.weight.equal(before) and instance.training


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_registry_models_by_name(name, tmp_path):
    own = build_model(name, canvas=(48, 56), classes=4, seed=3).eval()
    path = written(tmp_path / "net.pt", own.state_dict())
    model = load_model(name, weights=path, canvas=(48, 56), classes=4)
    pixels = torch.rand(2, 1, 48, 56)
    with torch.no_grad():
        assert model(pixels).equal(own(pixels))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_model(name, weights=path, canvas=(48, 56), classes=5)


def test_sources_with_weights_of_their_own_or_without_any(net, tmp_path):
    path = written(tmp_path / "net.pt", net.state_dict())
    save(build_model("two-full", seed=2), tmp_path / "ckpt")
    assert load_model(tmp_path / "ckpt").fc1.weight.equal(build_model("two-full", seed=2).fc1.weight)
    for source in (tmp_path / "ckpt", "net.onnx"):
        with pytest.raises(UsageError, match=r"weights are for package.module:object .*: leave out --weights"):
            load_model(source, weights=path)
    with pytest.raises(UsageError, match=r"two-full is the name of a model without trained weights: name a checkpoint"):
        load_model("two-full")
    with pytest.raises(UsageError, match=r"is a checkpoint, which contains its own normalization"):
        load_model(tmp_path / "ckpt", normalize=(0.5, 0.5))
    with pytest.raises(CheckpointError, match="No such file"):
        load_model(f"{__name__}:Net", weights=tmp_path / "none.pt")
