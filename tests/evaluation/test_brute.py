import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.evaluation.brute import BruteForceEngine, plain_logits
from shiftscope.evaluation.fast_paths import SlicedMaxPooling
from shiftscope.evaluation.memory import MemoryFootprint
from shiftscope.models import build_model
from shiftscope.placement import Placement

PLACE = Placement(image=(4, 6), canvas=(20, 18), step=4)  # 5 x 3 placements


def images(count=3):
    return torch.randint(0, 256, (count, 1, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def by_loop(model, place, batch, offsets):
    with torch.no_grad():
        return torch.stack([torch.cat([model(place.place(image[None], offset[None]).double() / 255).clone()
                                       for offset in offsets]) for image in batch])


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("name", ["two-full", "two-conv"])
def test_logits_equal_a_loop_over_images_and_offsets(name, chunk):
    model = build_model(name, canvas=(20, 18), classes=3).double().eval()
    engine = BruteForceEngine(model, PLACE, (1, 4, 6))
    engine.chunk = chunk
    found = engine.logits(images())
    assert found.shape == (3, 15, 3) and found.dtype == torch.float64
    torch.testing.assert_close(found.log_softmax(-1), by_loop(model, PLACE, images(), PLACE.offsets()))


def test_the_engine_returns_the_outputs_of_the_model():
    model = build_model("two-full", canvas=(20, 18), classes=3).double()
    engine = BruteForceEngine(model, PLACE, (1, 4, 6), PLACE.offsets()[[3, 7]])
    found = engine.logits(images(1))[0]
    assert found.shape == (2, 3)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2, dtype=torch.float64))  # it ends in a log-softmax
    torch.testing.assert_close(found, plain_logits(model, images(1).expand(2, -1, -1, -1), PLACE.offsets()[[3, 7]],
                                                   PLACE))


def test_modes_layout_and_gradients_are_restored():
    model = build_model("two-conv", canvas=(20, 18)).train()
    model.conv2_drop.eval()
    memory = model.conv1.weight.data_ptr()
    BruteForceEngine(model, PLACE, (1, 4, 6)).logits(images())
    assert model.training and not model.conv2_drop.training and torch.is_grad_enabled()
    assert model.conv1.weight.data_ptr() == memory and model.conv1.weight.is_contiguous()


def test_a_model_with_a_view_runs_in_the_contiguous_layout():
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.fc = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 3), nn.Linear(3 * 16 * 14, 2)

        def forward(self, pixels):
            return self.fc(self.second(self.first(pixels)).view(-1, 3 * 16 * 14))

    model = Views().double()
    engine = BruteForceEngine(model, PLACE, (1, 4, 6))
    assert not engine.channels_last
    torch.testing.assert_close(engine.logits(images()), by_loop(model, PLACE, images(), PLACE.offsets()))


def test_a_view_that_fails_only_with_windows():
    """One channel is channels-last in any layout: only pictures read as windows make a convolution answer so."""
    class Views(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 9 * 8, 2)

        def forward(self, pixels):
            return self.fc(F.max_pool2d(self.conv(pixels), 2).view(-1, 4 * 9 * 8))

    model = Views().double()
    engine = BruteForceEngine(model, PLACE, (1, 4, 6))
    assert engine.windows is not None and not engine.channels_last
    torch.testing.assert_close(engine.logits(images()), by_loop(model, PLACE, images(), PLACE.offsets()))


def test_memory_bounds_chunks_and_batches():
    model = build_model("two-conv", canvas=(20, 18))
    wide, narrow = (BruteForceEngine(model, PLACE, (1, 4, 6), memory=memory) for memory in (2**28, 2**17))
    assert wide.chunk == 512 and 1 <= narrow.chunk < 16
    assert BruteForceEngine(model, PLACE, (1, 4, 6), memory=1).images_per_call == 1
    torch.testing.assert_close(narrow.logits(images()), wide.logits(images()), atol=1e-5, rtol=1e-5)


class Hungry(nn.Module):
    """Runs out of memory above `most` pictures a batch, as torch says it on a CPU."""

    def __init__(self, most, message="[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"):
        super().__init__()
        self.most, self.message, self.net = most, message, nn.Linear(20 * 18, 2)

    def forward(self, pixels):
        if len(pixels) > self.most:
            raise RuntimeError(self.message)
        return self.net(pixels.flatten(1))


def test_chunks_are_halved_when_memory_runs_out():
    model = Hungry(5)
    engine = BruteForceEngine(model, PLACE, (1, 4, 6))
    found = engine.logits(images())
    assert 2 <= engine.chunk <= 5
    model.most = 1000
    torch.testing.assert_close(found, BruteForceEngine(model, PLACE, (1, 4, 6)).logits(images()))


def test_one_placement_that_does_not_fit_and_other_errors_raise():
    model = Hungry(5)
    engine = BruteForceEngine(model, PLACE, (1, 4, 6))
    model.most = 0
    with pytest.raises(ShiftscopeError, match="out of memory: Hungry cannot process one image of 20 x 18 pixels"):
        engine.logits(images())
    other = Hungry(5, "shape mismatch")
    engine = BruteForceEngine(other, PLACE, (1, 4, 6))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        engine.logits(images())


def test_a_model_that_squeezes_a_batch_of_one_raises():
    class Squeezes(nn.Module):
        def forward(self, pixels):
            return pixels[:, 0, :1, :2].squeeze()

    engine = BruteForceEngine(Squeezes(), PLACE, (1, 4, 6))
    engine.chunk = 2
    with pytest.raises(UsageError, match=r"must return a tensor \(batch, classes\), got \(2,\) for a batch of 1"):
        engine.logits(images())


@pytest.mark.parametrize("arguments", [{"kernel_size": 2}, {"kernel_size": (3, 2)}, {"kernel_size": 2, "stride": 2},
                                       {"kernel_size": 3, "stride": 2}, {"kernel_size": 2, "padding": 1},
                                       {"kernel_size": 2, "ceil_mode": True}, {"kernel_size": 2, "dilation": 2},
                                       {"kernel_size": 5}])
def test_pooling_by_slices_is_bit_identical(arguments):
    x = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    x[0, 0, 3, 3] = torch.nan
    for source in (x, x.contiguous(memory_format=torch.channels_last)):
        with SlicedMaxPooling():
            found, again = F.max_pool2d(source, **arguments), nn.MaxPool2d(**arguments)(source)
        expected = F.max_pool2d(source, **arguments)
        assert found.shape == expected.shape
        assert found.nan_to_num(7).equal(expected.nan_to_num(7)) and again.nan_to_num(7).equal(expected.nan_to_num(7))


def test_pooling_with_indices_or_without_a_batch_is_left_to_torch():
    x = torch.randn(1, 2, 6, 6)
    with SlicedMaxPooling():
        values, indices = F.max_pool2d(x, 2, return_indices=True)
        single = F.max_pool2d(x[0], 2)
    assert indices.shape == values.shape == (1, 2, 3, 3) and single.equal(values[0])


def test_the_footprint_is_that_of_the_largest_operation():
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
    with torch.no_grad(), MemoryFootprint(net.parameters()) as footprint:
        net(torch.zeros(4, 1, 10, 10))
    assert footprint.bytes == 2 * 4 * 8 * 10 * 10 * 4  # the ReLU's input and output


@pytest.mark.parametrize("size", [1, (2, 3)])
def test_adaptive_pooling_is_left_to_torch(size):
    pictures = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    with SlicedMaxPooling():
        found = nn.AdaptiveMaxPool2d(size)(pictures)
    assert found.equal(nn.AdaptiveMaxPool2d(size)(pictures))


def test_pooling_with_kernel_1_returns_a_copy():
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    with SlicedMaxPooling():
        F.max_pool2d(x, 1).zero_()
    assert x.equal(before)


def test_the_chunk_depends_on_the_largest_operation(monkeypatch):
    monkeypatch.setattr("shiftscope.evaluation.brute.CHUNK", {"cpu": (2, 100), "gpu": (1, 4096)})
    monkeypatch.setattr("shiftscope.evaluation.brute.CACHE", 2 * 20 * 18 * 4 * 10)  # what Flatten takes and gives
    model = nn.Sequential(nn.Flatten(), nn.Linear(20 * 18, 3, bias=False))
    assert 5 <= BruteForceEngine(model, PLACE, (1, 4, 6)).chunk <= 20
    monkeypatch.setattr("shiftscope.evaluation.brute.CACHE", 1)
    assert BruteForceEngine(model, PLACE, (1, 4, 6)).chunk == 2
    monkeypatch.setattr("shiftscope.evaluation.brute.CACHE", 2**30)
    assert BruteForceEngine(model, PLACE, (1, 4, 6)).chunk == 100


def test_weights_in_another_layout_are_not_counted():
    """Channels-last weights lie elsewhere in memory; counted, they would shrink the chunks of every large model."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(3), nn.Conv2d(4, 16384, 3), nn.Flatten(),
                          nn.Linear(16384, 2, bias=False))
    engine = BruteForceEngine(model, PLACE, (1, 4, 6), memory=2**23)  # 2.3 MB of weights, 0.13 MB of maps a placement
    assert engine.channels_last and engine.chunk > 20


class OwnBuffer(nn.Module):
    """Answers with a buffer of its own, which the next call overwrites."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(20 * 18, 3)
        self.register_buffer("kept", torch.zeros(1000, 3))

    def forward(self, pixels):
        return self.kept[:len(pixels)].copy_(self.fc(pixels.flatten(1)))


@pytest.mark.parametrize("short_cuts", [True, False])
def test_a_model_that_returns_its_own_buffer(short_cuts):
    model = OwnBuffer().double()
    engine = BruteForceEngine(model, PLACE, (1, 4, 6), short_cuts=short_cuts)
    engine.chunk = 4
    torch.testing.assert_close(engine.logits(images()), by_loop(model, PLACE, images(), PLACE.offsets()))


def test_a_model_that_works_in_place_on_its_input():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(20 * 18, 3)

        def forward(self, pixels):
            return self.fc(pixels.sub_(0.5).mul_(3).flatten(1))

    for place in (PLACE, Placement(image=(20, 18), canvas=(20, 18), mode="crop"),
                  Placement(image=(20, 18), canvas=(20, 18), mode="fill", fill="edge")):
        batch = torch.randint(0, 256, (2, 1, *place.image), dtype=torch.uint8)
        model, before = InPlace().double(), batch.clone()
        found = BruteForceEngine(model, place, (1, *place.image)).logits(batch)
        torch.testing.assert_close(found, by_loop(model, place, batch, place.offsets()))
        assert batch.equal(before)


def test_a_model_with_two_outputs_raises():
    class Two(nn.Module):
        def forward(self, pixels):
            return pixels.flatten(1), pixels.flatten(1)

    with pytest.raises(UsageError, match=r"Two must return a tensor \(batch, classes\), got tuple for a batch of 2"):
        BruteForceEngine(Two(), PLACE, (1, 4, 6))
