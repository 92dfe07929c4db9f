import io
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from shiftscope.errors import CheckpointError, OutputError, UsageError
from shiftscope.models import Provenance, TwoConvTwoFullNet, TwoFullNet, load, load_config, save
from shiftscope.models.adapt import adapt


class Hostile:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def edit_config(folder, change):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("model", [
    TwoFullNet(N=7, canvas=(20, 24), channels=3, classes=4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3)),
    TwoConvTwoFullNet(dropout=0.2).to(memory_format=torch.channels_last),
])
def test_a_registry_model_is_restored(model, tmp_path):
    pixels = torch.rand(2, *model.input_shape)
    expected = model.eval()(pixels)
    save(model, tmp_path / "ckpt", provenance=Provenance(dataset="garments", class_names=["a", "b"]))
    loaded = load(tmp_path / "ckpt")
    assert not loaded.training and type(loaded) is type(model)
    torch.testing.assert_close(loaded(pixels), expected, rtol=0, atol=1e-6)  # memory formats may differ
    for key, value in model.state_dict().items():
        assert loaded.state_dict()[key].equal(value)
    assert load_config(tmp_path / "ckpt").provenance.class_names == ["a", "b"]


def test_a_foreign_checkpoint_holds_weights_but_no_code(tmp_path):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    save(model, tmp_path)
    with pytest.raises(CheckpointError, match=r"which is not in Shiftscope's registry: if you trust .*--allow-code"):
        load(tmp_path)
    code = re.escape(f"{type(model).__module__}:Sequential")
    with pytest.raises(CheckpointError, match=rf"the weights of {code}, which is .*\(--allow-code {code}\)"):
        load(tmp_path)
    again = load(tmp_path, model=nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    assert again(torch.ones(1, 1, 2, 2)).equal(model(torch.ones(1, 1, 2, 2)))
    with pytest.raises(CheckpointError, match=r"'1.bias' has shape \(2,\) in the file and \(3,\) in the model"):
        load(tmp_path, model=nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))


@pytest.mark.parametrize("name, stored, shown", [
    ("my_models:make", "my_models:Net", "my_models:make"),  # the name in the training
    (None, "my_models:Net", "my_models:Net"),
    ("net", "my_models:Net", "my_models:Net"),
    (None, "__main__:Net", None),  # a script is not a module that can be imported
    (None, "tests:f.<locals>.Net", None),
    (None, "a:B; rm -r ~", None),
    (None, "a:" + "B" * 500, None)])
def test_the_message_names_the_code_in_the_description(tmp_path, name, stored, shown):
    save(nn.Linear(4, 2), tmp_path, provenance=Provenance(name=name))
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    values["model"]["class"] = stored
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as raised:
        load(tmp_path)
    assert f"(--allow-code {shown or 'package.module:object'})" in str(raised.value)
    assert shown is not None or stored[:9] not in str(raised.value)


def test_code_is_run_only_if_the_caller_allows_it(tmp_path, monkeypatch):
    (tmp_path / "allowed_net.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))\n")
    monkeypatch.chdir(tmp_path)
    save(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), tmp_path / "ckpt")
    assert isinstance(load(tmp_path / "ckpt", allow_code="allowed_net:net"), nn.Sequential)


@pytest.mark.parametrize("name", ["os:system", "builtins:eval", "torch.hub:load", "two-full; import os"])
def test_a_config_that_names_code_is_refused(name, tmp_path):
    save(TwoFullNet(), tmp_path)
    edit_config(tmp_path, lambda values: values["model"].update(name=name, arguments={"command": "touch hacked"}))
    with pytest.raises(CheckpointError, match=r"which is not in the registry.*No code was run"):
        load(tmp_path)


@pytest.mark.parametrize("arguments", [
    {"canvas": [10**9, 10**9]}, {"N": 10**12}, {"canvas": "56"}, {"unknown": 1}, {"N": -1}, {"canvas": [56]},
    {"std": 0.0}, {"N": "9" * 50}, {"N": None}, {"N": 2.5}, {"N": 2**70}, {"mean": [0.1] * 100}, {"mean": "x"},
    {"canvas": [40_000, 40_000]}, {"canvas": [1, 2, 3]}, {"channels": 2**40}, {"channels": [1]}, {"x" * 1000: 1},
])
def test_hostile_arguments_are_refused_without_allocating_memory(arguments, tmp_path):
    save(TwoFullNet(), tmp_path)
    edit_config(tmp_path, lambda values: values["model"]["arguments"].update(arguments))
    with pytest.raises(CheckpointError, match=r"are not valid for|do not fit"):
        load(tmp_path)


@pytest.mark.parametrize("name, arguments", [
    ("scattering-linear", {"scales": 2**40}), ("scattering-linear", {"angles": 10**6}),
    ("invariant", {"widths": [8] * 10**5}), ("recentered", {"widths": "many"}), ("recentered", {"window": [1]}),
])
def test_hostile_arguments_of_other_models_are_refused_quickly(name, arguments, tmp_path):
    save(TwoFullNet(), tmp_path)
    edit_config(tmp_path, lambda values: values["model"].update(name=name, arguments=arguments))
    with pytest.raises(CheckpointError, match=r"are not valid for|do not fit") as caught:
        load(tmp_path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("place, value", [
    ("model", 3), ("model", {}), ("provenance", None), ("provenance", []), ("schema_version", "1" * 1000),
    ("model.name", 3), ("model.name", ["two-full"]), ("model.arguments", []), ("model.arguments", None),
    ("model.normalize", [0.5]), ("model.normalize", [0.5, 0]), ("model.normalize", ["a", 0.5]), ("model.normalize", 3),
    ("model.normalize", [0.5, [1, [2]]]), ("model.normalize", [0.5, -1]), ("model.preprocess", 3),
    ("model.repaired", 3), ("model.repaired", [3]), ("model.repaired", [{"method": "blur"}]),
    ("model.repaired", [{"method": "magic", "shape": [1, 56, 56]}]),
    ("model.repaired", [{"method": "blur", "shape": "big"}]),
    ("model.repaired", [{"method": "placement-average", "shape": [1, 8192, 8192], "image": [1, 1]}]),
    ("provenance.name", 3), ("provenance.dataset", ["garments"]), ("provenance.class_names", "ab"),
    ("provenance.class_names", [1, 2]), ("provenance.placement", []), ("provenance.trained", None),
    ("provenance.settings", "none"), ("provenance.epochs", "2"), ("provenance.epochs", 2**80),
    ("provenance.finished", 1), ("provenance.notes", {"a": 1}), ("provenance.notes", [None]),
])
def test_every_value_of_config_json_is_checked(place, value, tmp_path):
    save(TwoFullNet(), tmp_path)

    def change(values):
        *keys, last = place.split(".")
        for key in keys:
            values = values[key]
        values[last] = value

    edit_config(tmp_path, change)
    for read in (load_config, load):
        with pytest.raises(CheckpointError, match=r"not a valid checkpoint description|schema version") as caught:
            read(tmp_path)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("dtype", ["I32", "U32", "BOOL", "F8_E4M3", "C64", "I64"])
def test_weights_of_other_types_are_refused(dtype, tmp_path):
    """Change the header of the file and adapt the data."""
    save(TwoFullNet(), tmp_path)
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    kinds = {"I32": torch.int32, "U32": torch.uint32, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn,
             "C64": torch.complex64, "I64": torch.int64}
    weights["fc1.weight"] = torch.zeros(weights["fc1.weight"].shape, dtype=kinds[dtype])
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"'fc1.weight' holds torch.\w+ in the file and real numbers in the"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=r"'fc1.weight' holds torch.\w+ in the file"):
        load(tmp_path, model=TwoFullNet())


def test_registry_weights_of_two_precisions_are_refused(tmp_path):
    save(TwoFullNet(), tmp_path / "mixed")
    path = tmp_path / "mixed" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["fc1.weight"] = weights["fc1.weight"].half()
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError, match="they are torch.float16 and torch.float32"):
        load(tmp_path / "mixed")
    save(TwoFullNet().half(), tmp_path / "half")
    assert load(tmp_path / "half").fc1.weight.dtype == torch.float16


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes and sparse files")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_pipes_devices_and_huge_files_are_not_read(name, tmp_path):
    save(TwoFullNet(), tmp_path)
    path = tmp_path / name
    for make, problem in ((os.mkfifo, "it is a named pipe"), (Path.mkdir, "it is a folder"),
                          (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
                          (lambda path: (path.touch(), os.truncate(path, 2**40)), "1,099,511,627,776")):
        path.unlink()
        make(path)
        with pytest.raises(CheckpointError, match=problem):
            load(tmp_path)
        path.rmdir() if path.is_dir() else None
        path.touch()


@pytest.mark.parametrize("payload", ["pickle", "torch"])
def test_pickled_weights_never_run(payload, tmp_path):
    save(TwoFullNet(), tmp_path)
    trap = tmp_path / "executed"
    buffer = io.BytesIO()
    pickle.dump(Hostile(trap), buffer) if payload == "pickle" else torch.save({"x": Hostile(trap)}, buffer)
    (tmp_path / "model.safetensors").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        load(tmp_path)
    assert not trap.exists()


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights_are_named(keep, tmp_path):
    save(TwoFullNet(), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model.safetensors is truncated or corrupt"):
        load(tmp_path)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="is not a checkpoint: it has no config.json"):
        load(tmp_path)
    save(TwoFullNet(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": 1}', "\xff\xfe"])
def test_a_damaged_config_json_is_reported(text, tmp_path):
    save(TwoFullNet(), tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config.json is not a valid checkpoint description"):
        load(tmp_path)


def test_another_version_names_both_and_the_remedy(tmp_path):
    save(TwoFullNet(), tmp_path)
    edit_config(tmp_path, lambda values: values.update(schema_version=99))
    with pytest.raises(CheckpointError, match=r"schema version 99, this release reads version 2;"):
        load(tmp_path)


def test_an_unwritable_folder_is_reported(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(OutputError, match="cannot write .*free some space or choose another folder"):
        save(TwoFullNet(), blocker / "ckpt")


def double(pixels):
    return pixels * 2


def test_preprocessing_is_saved_and_required(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    pixels = torch.rand(3, 1, 2, 2)
    expected = net((pixels - 0.5) / 0.25)
    save(adapt(net, normalize=(0.5, 0.25)), tmp_path / "normalized")
    loaded = load(tmp_path / "normalized", model=nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    torch.testing.assert_close(loaded(pixels), expected)
    save(adapt(net, preprocess=double), tmp_path / "prepared")
    with pytest.raises(CheckpointError, match=r"saved with preprocess=double, .*pass it to load"):
        load(tmp_path / "prepared", model=net)
    torch.testing.assert_close(load(tmp_path / "prepared", model=net, preprocess=double)(pixels), net(2 * pixels))
    with pytest.raises(UsageError, match="given one at a time"):
        adapt(net, normalize=(0.5, 0.25), preprocess=double)
