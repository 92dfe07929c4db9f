import math
import os
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from shiftscope.course.loaders import units_of
from shiftscope.course.training_loop import Session
from shiftscope.errors import DataError, ShiftscopeError, TrainingError, UsageError
from shiftscope.training.optimization import learning_rate


def test_evaluate_model_learns_and_returns_one_entry_per_epoch(small, make_net):
    small.args.epochs = 8
    history = small.evaluate_model(make_net())
    assert [line["epoch"] for line in history] == list(range(1, 9))
    assert history[-1]["test_accuracy"] > 0.8 > history[0]["test_accuracy"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_history_is_reproducible_and_the_random_state_is_restored(small, make_net):
    before = torch.get_rng_state()
    first, again = (small.evaluate_model(make_net()) for _ in range(2))
    assert [line | {"seconds": 0} for line in first] == [line | {"seconds": 0} for line in again]
    assert torch.equal(torch.get_rng_state(), before)
    small.args.seed = 5
    assert small.evaluate_model(make_net())[0]["train_loss"] != first[0]["train_loss"]


def test_logits_and_log_probabilities_train_alike(small, make_net):
    ends = [small.evaluate_model(make_net(log_softmax=log_softmax))[-1]["test_loss"] for log_softmax in (True, False)]
    assert math.isclose(*ends, rel_tol=1e-4)


def test_test_returns_the_mean_over_all_images_in_eval_mode(small, make_net):
    model = nn.Sequential(make_net(log_softmax=False), nn.Dropout(0.5))
    images, labels = (torch.stack(parts) for parts in zip(*small.test_loader.dataset, strict=True))
    outputs = model[0](images)
    loss, accuracy = small.test(model)
    assert math.isclose(loss, F.cross_entropy(outputs, labels).item(), rel_tol=1e-5)
    assert accuracy == (outputs.argmax(1) == labels).double().mean().item()
    assert model[1].training


def test_train_epoch_by_epoch_equals_evaluate_model(small, make_net):
    small.args.epochs = 3
    whole, steps = make_net(), make_net()
    history = small.evaluate_model(whole)
    scores = [small.train(steps), small.train(steps, 2), small.train(steps)]
    assert [score[0] for score in scores] == [line["train_loss"] for line in history]
    assert torch.equal(whole.fc2.weight, steps.fc2.weight)


def test_train_starts_again_with_epoch_1_and_when_args_change(small, make_net):
    model = make_net()
    small.train(model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    second = small.train(model, 2)
    model.load_state_dict(weights)
    small.args.lr = 1e-9
    frozen = small.train(model, 2)
    assert frozen[0] != second[0]
    assert torch.allclose(model.fc1.weight, weights["fc1.weight"], atol=1e-6)


def test_args_are_read_at_each_call(small, make_net):
    small.args = small.AttrDict(epochs=1, lr=0.5, momentum=0.5, batch_size=7)
    assert len(small.evaluate_model(make_net())) == 1
    small.args.epochs = 3
    assert len(small.evaluate_model(make_net())) == 3


@pytest.mark.parametrize("number, error", [(signal.SIGINT, None), (signal.SIGTERM, SystemExit)])
def test_an_interrupted_model_keeps_its_weights(small, make_net, number, error, bars):
    class Interrupting(DataLoader):
        passes = 0

        def __iter__(self):
            Interrupting.passes += 1
            for step, batch in enumerate(super().__iter__()):
                if Interrupting.passes == 4 and step == 1:  # two looks at the first images, one whole epoch
                    os.kill(os.getpid(), number)
                yield batch

    small.args.epochs = 5
    small.train_loader = Interrupting(bars(60, (12, 10)), batch_size=20)
    model = make_net()
    before, handlers = model.fc1.weight.clone(), signal.getsignal(signal.SIGINT)
    Interrupting.passes = 1
    if error is None:
        history = small.evaluate_model(model)
        assert [line["epoch"] for line in history] == [1]
    else:
        with pytest.raises(error):
            small.evaluate_model(model)
    assert not torch.equal(model.fc1.weight, before)
    assert signal.getsignal(signal.SIGINT) is handlers
    assert model.training


def test_a_keyboard_interrupt_from_the_loader_stops_the_training(small, make_net):
    class Raising(list):
        def __iter__(self):
            yield self[0]
            yield self[0]
            raise KeyboardInterrupt

    small.train_loader = Raising(list(small.train_loader))
    assert small.evaluate_model(make_net()) == []


def test_train_passes_the_interrupt_on(small, make_net):
    class Interrupting(list):
        def __iter__(self):
            yield self[0]
            os.kill(os.getpid(), signal.SIGINT)
            yield self[1]

    small.train_loader = Interrupting(list(small.train_loader))
    with pytest.raises(KeyboardInterrupt, match="after batch 2 of 3"):
        small.train(make_net())


def test_generate_image_of_a_class_is_classified_as_it(small, make_net):
    small.args.epochs = 8
    model = make_net()
    small.evaluate_model(model)
    for label in range(3):
        image = small.generate_image(model, mode="class", target_class=label, seed="zero")
        assert image.shape == (12, 10)
        assert image.dtype == np.float32
        assert model(torch.from_numpy(image)[None, None]).argmax() == label
        assert image.min() >= -0.4243
        assert image.max() <= 2.8216


@pytest.mark.parametrize("neuron", [5, (5,), [5]])
def test_generate_image_of_a_neuron_activates_it(small, make_net, neuron):
    model = make_net()
    image = small.generate_image(model, mode="neuron", target_operator=model.fc1, target_neuron=neuron, verbose=False)
    gray = torch.full((1, 120), (0.5 - 0.1307) / 0.3081)
    gains = (model.fc1(torch.from_numpy(image).view(1, 120)) - model.fc1(gray))[0]
    assert gains.argmax() == 5
    assert gains[5] > 0.3


def test_generate_image_of_one_position_changes_its_receptive_field(MU):
    MU.imgsize = (24, 20)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 22 * 18, 2))
    image = MU.generate_image(model, mode="neuron", target_operator=model[0], target_neuron=(1, 15, 4))
    assert image.shape == (24, 20, 3)
    changed = np.abs(image - image[0, -1]).max(2)  # rows 15 to 17, columns 4 to 6
    assert changed[15:18, 4:7].max() == changed.max() > 0.3
    assert changed[:8, 14:].max() < 0.2 * changed.max()


def test_generate_image_starts_from_the_given_seed(small, make_net):
    model = make_net()
    dark, bright = (np.full((12, 10), value, np.float32) for value in (-0.4242, 2.8215))
    images = {name: small.generate_image(model, target_class=1, seed=seed)
              for name, seed in (("zero", "zero"), ("random", "random"), ("dark", dark), ("bright", bright))}
    assert np.array_equal(images["dark"], images["zero"])  # a class is climbed from an empty canvas
    assert images["dark"].mean() + 0.1 < images["random"].mean() < images["bright"].mean() - 0.1



def test_display_parameters_shows_the_state(small, capsys):
    small.args.lr = 0.125
    small.display_parameters()
    shown = capsys.readouterr().out
    for part in ("args.lr               0.125", "(12, 10)", "one, two, three", "DataLoader of 3 batches", "not set"):
        assert part in shown


# ---------------------------------------------------------------------- bad input


def test_missing_loaders_are_named(MU, make_net):
    for use, name in ((MU.evaluate_model, "train_loader"), (MU.train, "train_loader"), (MU.test, "test_loader"),
                      (MU.display_classified_images, "test_loader")):
        with pytest.raises(UsageError, match=rf"model_utils\.{name} is not set: set MU\.{name} to a DataLoader"):
            use(make_net())


@pytest.mark.parametrize("imgsize, expected", [
    ((56, 56), r"model_utils.imgsize is \(56, 56\), but model_utils.train_loader yields images of 12 x 10: "
               r"set MU.imgsize = \(12, 10\)"),
    (56, "model_utils.imgsize must be two integers above 0, .*, got 56"),
    (None, "model_utils.imgsize must be two integers"),
])
def test_an_invalid_imgsize_is_named(small, make_net, imgsize, expected):
    small.imgsize = imgsize
    for use in (small.train, small.evaluate_model, lambda model: small.generate_image(model, target_class=0)):
        with pytest.raises(UsageError, match=expected):
            use(make_net())


@pytest.mark.parametrize("batch, expected", [
    (torch.zeros(4, 1, 12, 10), r"train_loader must yield \(images, labels\), got a Tensor of 4"),
    ({"image": 1, "label": 2}, "got a dict of 2: set MU.train_loader"),
    ((torch.zeros(4, 1, 12, 10), torch.zeros(4), torch.zeros(4)), "got a tuple of 3"),
    ((torch.zeros(4, 1, 12, 10, dtype=torch.uint8), torch.zeros(4)), r"got torch.uint8 .*: add ToTensor\(\)"),
    ((torch.zeros(4, 120), torch.zeros(4)), r"got torch.float32 of shape \(4, 120\)"),
    (([1, 2], torch.zeros(2)), "got list"),
    ((torch.zeros(4, 1, 12, 10), torch.zeros(4)), "labels of model_utils.train_loader must be 4 integers"),
    ((torch.zeros(4, 1, 12, 10), torch.zeros(3, dtype=torch.int64)), r"got torch.int64 of shape \(3,\)"),
])
def test_invalid_batches_are_named(small, make_net, batch, expected):
    small.train_loader = [batch]
    with pytest.raises(DataError, match=expected):
        small.train(make_net())


def test_labels_outside_class_names_are_named(small, make_net):
    images, labels = next(iter(small.train_loader))
    small.train_loader = [(images, labels), (images, torch.where(labels == 2, 7, labels))]
    with pytest.raises(DataError, match=r"label 7 of image \d+ in batch 1 of model_utils.train_loader must be from 0 to"
                                        r" 2 because model_utils.class_names has 3 classes: set MU.class_names"):
        small.train(make_net())
    small.class_names = None
    with pytest.raises(DataError, match="because the model has 3 classes"):
        small.train(make_net())


def test_empty_and_endless_loaders(small, make_net):
    small.train_loader = []
    with pytest.raises(DataError, match="train_loader yields no batch"):
        small.train(make_net())
    small.train_loader = (batch for batch in [next(iter(small.test_loader))])
    with pytest.raises(UsageError, match="train_loader has no length"):
        small.train(make_net())


def test_another_number_of_classes_than_names(small, make_net):
    with pytest.raises(UsageError, match="Net has 5 outputs, model_utils.class_names has 3 names: set MU.cla"):
        small.evaluate_model(make_net(5))


def test_a_model_on_another_device_than_its_images(small, make_net):
    model = make_net().to("meta")
    with pytest.raises(UsageError, match="Net is on meta, the images of model_utils.test_loader are on cpu: set "
                                         "MU.use_cuda = True"):
        small.test(model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_stays_there(small, make_net):
    small.use_cuda = True
    model = make_net().cuda()
    small.evaluate_model(model)
    assert model.fc1.weight.is_cuda
    assert small.generate_image(model, target_class=1).shape == (12, 10)
    assert make_net().fc1.weight.device.type == "cpu"


@pytest.mark.parametrize("name, value, expected", [
    ("epochs", 0, "an integer of at least 1"), ("lr", -1, "a number above 0"), ("lr", math.nan, "above 0"),
    ("momentum", 1.0, "below 1"), ("optimizer", "lion", "one of adamw, adam, sgd"), ("batch_size", 2.5, "integer"),
    ("schedule", "steps", "one of one-cycle"), ("seed", "one", "integer")])
def test_invalid_args_are_named(small, make_net, name, value, expected):
    small.args[name] = value
    with pytest.raises(UsageError, match=rf"model_utils\.args\.{name} must be .*{expected}"):
        small.evaluate_model(make_net())


@pytest.mark.parametrize("changes, expected", [
    ({"target_operator": nn.Linear(120, 16)}, "must be a submodule of this Net, got a Linear of another model: give one"
                                              " of model.fc1, model.fc2"),
    ({"target_operator": "fc1"}, "must be a submodule of this Net, got 'fc1'"),
    ({"target_operator": None}, "must be a submodule"),
    ({"target_neuron": (16,)}, r"target_neuron \(16,\) is out of range: fc1 has shape \(16,\).*0 to 15"),
    ({"target_neuron": (-1,)}, "out of range"), ({"target_neuron": (1, 2)}, "out of range"),
    ({"target_neuron": None}, "target_neuron must be integers"), ({"target_neuron": ()}, "target_neuron must"),
    ({"mode": "layer"}, "mode must be"), ({"mode": "class"}, "target_class must be a class from 0 to 2, got None"),
    ({"mode": "class", "target_class": 3}, "from 0 to 2, got 3"),
    ({"seed": "noise"}, "seed must be"), ({"seed": np.zeros((5, 5))}, r"seed must be .*\(1, 12, 10\)"),
])
def test_invalid_targets_are_named(small, make_net, changes, expected):
    model = make_net()
    target = {"mode": "neuron", "target_operator": model.fc1, "target_neuron": (0,)} | changes
    with pytest.raises(UsageError, match=expected):
        small.generate_image(model, **target)


def test_a_model_for_other_image_sizes_is_named(small):
    with pytest.raises(UsageError, match=r"Sequential cannot take images of 1 x 12 x 10 .*set MU.imgsize and "
                                         "MU.train_loader"):
        small.train(nn.Sequential(nn.Flatten(), nn.Linear(3136, 3)))


def test_a_nonfinite_loss_is_named(small, make_net):
    small.args.update(optimizer="sgd", schedule="constant", lr=1e30)
    with pytest.raises(TrainingError, match="not finite in epoch 1, at batch .*: set MU.args.lr to a smaller"):
        small.evaluate_model(make_net())


def test_without_a_loader_the_first_layer_determines_the_channels(MU):
    MU.imgsize = (12, 10)
    assert MU.generate_image(nn.Sequential(nn.Flatten(), nn.Linear(360, 2)), target_class=0).shape == (12, 10, 3)
    with pytest.raises(UsageError, match=r"imgsize is \(12, 10\), but the first layer of Sequential takes 100 numbers"):
        MU.generate_image(nn.Sequential(nn.Flatten(), nn.Linear(100, 2)), target_class=0)
    with pytest.raises(ShiftscopeError, match="set MU.train_loader"):
        MU.generate_image(nn.Sequential(nn.Flatten()), target_class=0)


def test_the_learning_rate_follows_the_schedule_over_all_epochs(small, make_net, monkeypatch):
    rates = []
    step = Session._step

    def watched(self, images, labels, rate, tally):
        step(self, images, labels, rate, tally)
        rates.append(self.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Session, "_step", watched)
    small.evaluate_model(make_net())
    assert rates == [learning_rate(step, 6, 0.02, "one-cycle") for step in range(6)]


def test_units_are_the_range_of_each_channel_and_invert():
    images = torch.stack((torch.linspace(-2, 6, 24), torch.full((24,), 5.0))).view(1, 2, 4, 6)
    units = units_of(images)
    assert units.from_pixels(torch.zeros(2, 1, 1)).flatten().tolist() == [-2, 5]
    assert units.from_pixels(torch.ones(2, 1, 1)).flatten().tolist() == [6, 6]
    assert torch.allclose(units.from_pixels(units.to_pixels(images)), images)
