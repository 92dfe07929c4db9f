"""Unwrapping of models, restored state, and errors raised by a model."""

import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.auditing.equivariance import equivariance
from shiftscope.errors import ShiftscopeError, UsageError, reason_of
from shiftscope.evaluation.accuracy import evaluate
from shiftscope.layers import PhaseAverage
from shiftscope.models import build_model, load, save
from shiftscope.models.adapt import adapt
from shiftscope.modules import as_module, device_and_dtype, evaluating, in_fixed_batches, model_name
from shiftscope.settings import SynthesisSettings, TrainSettings
from shiftscope.training import train
from shiftscope.visualization import activations, attribute, visualize
from shiftscope.visualization.neighbors import find_neighbors

from .kinds import SHAPE, Bank, InPlace, Lazy, Net, NoBatchOfOne, OneAtATime, Squeezes, TupleInTraining, bands, net
from .test_matrix import DATA, IMAGES, PIXELS, PLACE

QUICK = TrainSettings(epochs=1, validation=1, batch_size=5)


def test_wrappers_with_hooks_or_overridden_methods_are_kept() -> None:
    class Reversed(nn.DataParallel):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).flip(1)

    hooked = nn.DataParallel(net())
    hooked.register_forward_hook(lambda module, inputs, output: output.flip(1))
    compiled = torch.compile(net(), backend="eager")
    compiled.register_forward_hook(lambda module, inputs, output: output.flip(1))
    plain = audit(net(), DATA, placement=PLACE)
    for wrapper in (Reversed(net()), hooked, compiled):
        found = audit(wrapper, DATA, placement=PLACE)
        assert (found.predictions == 3 - plain.predictions).all()


def test_nested_wrappers_are_unwrapped() -> None:
    model = net()
    assert as_module(torch.compile(nn.DataParallel(torch.compile(model, backend="eager")), backend="eager")) is model
    assert model_name(torch.compile(bands, backend="eager")) == "bands"
    assert as_module(torch.export.export(model, (torch.zeros(2, *SHAPE),))).batch == 2


def test_batches_are_padded_to_the_fixed_size() -> None:
    sizes = []

    def ask(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part.sum(1)

    values = torch.arange(14.0).view(7, 2)
    assert in_fixed_batches(ask, values, 3).equal(values.sum(1)) and sizes == [3, 3, 3]


class Draws(Net):
    """Adds noise from all three generators."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = random.random() + np.random.rand() + torch.rand(1, dtype=x.dtype)
        return super().forward(x) * noise.to(x.device)


def states() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return random.getstate(), (name, keys.tolist(), *rest), torch.get_rng_state().tolist()


def test_random_generators_are_seeded_and_restored() -> None:
    def everything() -> list[Any]:
        model = net(Draws)
        made = visualize(model, "class:1", shape=SHAPE, settings=SynthesisSettings(steps=2))
        maps = attribute(model, PIXELS, 1, method="saliency").maps
        (near,) = find_neighbors(model, ["class:1"], DATA, placement=PLACE, k=2)
        shown = activations(model, PIXELS, ["class"])["class"].numpy()
        train(model, DATA, placement=PLACE, settings=QUICK)
        weights = torch.cat([weight.detach().flatten() for weight in model.parameters()]).numpy()
        return [made.images, maps, near.top_activation, shown, weights]

    first_states = states()
    first = everything()
    assert states() == first_states
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    second_states = states()
    for one, other in zip(first, everything(), strict=True):
        assert np.array_equal(one, other)
    assert states() == second_states


class RaisesLater(Net):
    """Takes dark images only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 3:
            raise LookupError("a batch of more than three")
        return super().forward(x)


@pytest.mark.parametrize("function", ["audit", "evaluate", "train", "neighbors"])
def test_errors_of_the_model_name_file_and_line(function: str) -> None:
    model = net(RaisesLater)
    line = RaisesLater.forward.__code__.co_firstlineno + 2
    with pytest.raises(UsageError, match=rf"LookupError in forward \(.*test_unwrapping.py, line {line}\)") as refusal:
        {"audit": lambda: audit(model, DATA, placement=PLACE),
         "evaluate": lambda: evaluate(model, DATA, placement=PLACE),
         "train": lambda: train(model, DATA, placement=PLACE, settings=QUICK),
         "neighbors": lambda: find_neighbors(model, ["class:1"], DATA, placement=PLACE)}[function]()
    assert len(str(refusal.value)) < 400 and "a batch of more than three" in str(refusal.value)


def test_errors_outside_the_model_are_not_attributed_to_it() -> None:
    with pytest.raises(ShiftscopeError, match="engine"):
        audit(net(), DATA, placement=PLACE, engine="none")


def test_reasons_have_no_escape_codes_or_advice() -> None:
    text = ("Failed.\n\x1b[96mThis is step 1/3\x1b[0m of exporting.\n- Create an issue in PyTorch\n"
            "For more information, run with TORCH_LOGS='+dynamic'\nthe size 3 does not divide 8\n"
            "The following call raised this error:\n  File \"a.py\", line 3")
    assert reason_of(RuntimeError(text)) == "Failed; the size 3 does not divide 8"
    assert len(reason_of(RuntimeError("x" * 500))) <= 160


def test_training_restores_the_modes_of_all_submodules() -> None:
    model = nn.Sequential(net(), nn.BatchNorm1d(4), nn.Dropout())
    model.train()
    model[1].eval()
    train(model, DATA, placement=PLACE, settings=QUICK)
    assert [part.training for part in (model, *model)] == [True, True, False, True]
    adapt(model, normalize=(0.5, 0.5))
    assert [part.training for part in (model, *model)] == [True, True, False, True]


def test_a_last_batch_of_one_image_is_refused_before_training_if_the_model_raises() -> None:
    model = nn.Sequential(net(), nn.BatchNorm1d(4))
    settings = TrainSettings(epochs=1, validation=2, batch_size=4)  # 9 images
    with pytest.raises(UsageError, match="last batch of an epoch has one image.*choose another batch_size than 4"):
        train(model, DATA, placement=PLACE, settings=settings)


def test_several_outputs_in_train_mode_are_noted_and_the_first_is_trained() -> None:
    model, plain = net(TupleInTraining), net()
    found = train(model, DATA, placement=PLACE, settings=QUICK)
    assert any("several outputs" in note for note in found.notes)
    train(plain, DATA, placement=PLACE, settings=QUICK)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True))


def test_lazy_models_are_trained_and_their_checkpoints_load_into_fresh_ones(tmp_path: Any) -> None:
    model = net(Lazy)
    state = torch.get_rng_state()
    train(model, DATA, placement=PLACE, settings=QUICK, folder=tmp_path)
    assert state.equal(torch.get_rng_state())
    again = net(Lazy)
    train(again, DATA, placement=PLACE, settings=QUICK)
    loaded = load(tmp_path, model=net(Lazy))
    with evaluating(model), evaluating(again):
        assert model(PIXELS).equal(again(PIXELS)) and model(PIXELS).equal(loaded(PIXELS))


def test_the_dtype_is_determined_by_trial() -> None:
    assert device_and_dtype(adapt(net(Bank), shape=SHAPE))[1] == torch.float32
    mixed = net(Bank).half()
    mixed.bank = mixed.bank.float()
    assert device_and_dtype(adapt(mixed, shape=SHAPE))[1] == torch.float16
    ordinary = net().double()
    assert adapt(ordinary, shape=SHAPE) is ordinary


def test_in_place_models_do_not_change_the_views_of_an_average() -> None:
    average, plain = PhaseAverage(net(InPlace), 2), PhaseAverage(net(), 2)
    with torch.no_grad():
        pixels = PIXELS.clone()
        expected = plain((pixels - 0.3) * 2)
        assert torch.allclose(average(pixels), expected, atol=1e-6) and pixels.equal(PIXELS)


@pytest.mark.parametrize("kind", [OneAtATime, NoBatchOfOne, Squeezes])
def test_layers_of_models_with_unusual_calls_equal_those_of_the_plain_model(kind: type[nn.Module]) -> None:
    def seen(model: nn.Module) -> list[np.ndarray]:
        (found,) = find_neighbors(model, ["conv:all"], DATA, placement=PLACE, k=2)
        moved = equivariance(model, DATA, placement=PLACE, period=2, images=5)
        maps = [attribute(model, pictures, 1, method="grad-cam", layer="conv").maps
                for pictures in (PIXELS[1:2], PIXELS)]
        return [found.top_activation, np.array(moved.overall), *maps]

    for mine, plain in zip(seen(net(kind)), seen(net()), strict=True):
        assert mine.shape == plain.shape and np.any(plain) and mine == pytest.approx(plain, abs=1e-4)


def test_one_image_of_a_model_that_squeezes() -> None:
    found = audit(net(Squeezes), DATA, placement=PLACE, limit=1)
    assert (found.predictions == audit(net(), DATA, placement=PLACE, limit=1).predictions).all()


def test_functions_of_pixels_and_factories_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_models.py").write_text(
        "import torch\ndef scores(x):\n    return x.flatten(1)[:, :4]\ndef factory(classes):\n    return scores\n"
        "def broken(canvas):\n    raise OSError('no weights here')\ndef number():\n    return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("their_models:scores", "their_models:factory"):
        model = build_model(name)
        assert model(IMAGES.float()).shape == (11, 4) and model_name(model) == "scores"
    with pytest.raises(UsageError, match=r"OSError in broken \(.*their_models.py, line 7\): no weights here"):
        build_model("their_models:broken")
    with pytest.raises(UsageError, match="must return an nn.Module, got int"):
        build_model("their_models:number")


def test_unsupported_weights_are_refused_and_nothing_is_written(tmp_path: Any) -> None:
    wide = net().to(torch.complex128)
    for model, reason in ((wide, "complex128"), (net().to("meta"), "holds no numbers"), (net(Lazy), "no numbers")):
        with pytest.raises(UsageError, match=reason):
            save(model, tmp_path / "model")
        assert not (tmp_path / "model").exists()


def test_frozen_torchscript_has_no_mode() -> None:
    scripted = torch.jit.freeze(torch.jit.script(net()))
    found = audit(scripted, DATA, placement=PLACE)
    assert not hasattr(scripted, "training") and not re.search("train mode", " ".join(found.notes))
