import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.settings import PRESETS, RECIPES, TrainSettings
from shiftscope.training import train
from shiftscope.training.augment import AREA, ASPECT, random_erase, random_mirror

INDICES = torch.arange(4000)


def pictures(count: int, size: tuple[int, int] = (9, 12), channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, channels, *size), dtype=torch.uint8, generator=generator)


def test_half_of_the_images_are_mirrored_and_the_rest_unchanged():
    images = pictures(len(INDICES), channels=3)
    found = random_mirror(images, INDICES, seed=1, epoch=0)
    turned = (found == images.flip(3)).flatten(1).all(1)
    same = (found == images).flatten(1).all(1)
    assert (turned ^ same).all()
    assert abs(turned.double().mean().item() - 0.5) < 4 * 0.5 / len(INDICES) ** 0.5  # four stds


@pytest.mark.parametrize("change", [
    lambda images, indices, **when: random_mirror(images, indices, **when),
    lambda images, indices, **when: random_erase(images, indices, fraction=0.5, **when)])
def test_augmentation_depends_on_seed_epoch_and_index_only(change):
    images = pictures(50)
    whole = change(images, INDICES[:50], seed=4, epoch=2)
    parts = [change(images[k:k + 7], INDICES[:50][k:k + 7], seed=4, epoch=2) for k in range(0, 50, 7)]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(whole, torch.cat(parts))
    assert torch.equal(whole[order], change(images[order], INDICES[:50][order], seed=4, epoch=2))
    assert not torch.equal(whole, change(images, INDICES[:50], seed=4, epoch=3))
    assert not torch.equal(whole, change(images, INDICES[:50], seed=5, epoch=2))


def test_a_fraction_of_the_images_gets_one_rectangle_within_the_published_bounds():
    h, w = 28, 28
    images = torch.zeros(len(INDICES), 1, h, w, dtype=torch.uint8)
    found = random_erase(images, INDICES, fraction=0.4, seed=0, epoch=0)
    changed = found.flatten(1).bool().any(1)
    assert abs(changed.double().mean().item() - 0.4) < 0.04
    rows, columns = found.bool().any(3).sum(2).flatten()[changed], found.bool().any(2).sum(2).flatten()[changed]
    area = rows * columns / (h * w)
    assert area.min() > 0.5 * AREA[0] and area.max() < 1.2 * AREA[1]  # whole rows and columns
    filled = found[changed].bool().flatten(1).sum(1) / (rows * columns)
    assert filled.min() > 0.8  # of random pixels one in 256 is black
    assert (rows / columns).max() > 0.5 * ASPECT[1] and (rows / columns).min() < 2 * ASPECT[0]
    assert found[changed].unique().numel() == 256
    middle = found[:, 0].bool().double().mean(0)
    assert middle[14, 14] > middle[0, 0] > 0  # every pixel may be hit, those of the middle more often


def test_erase_fractions_of_0_and_1():
    images = pictures(40)
    assert torch.equal(random_erase(images, INDICES[:40], fraction=0, seed=0, epoch=0), images)
    assert (random_erase(images, INDICES[:40], fraction=1, seed=0, epoch=0) != images).flatten(1).any(1).all()


def test_training_with_augmentation_is_reproducible(spots):
    place = Placement(image=(8, 8), canvas=(12, 12))

    def weights(**changes):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 4))
        train(model, spots, placement=place, settings=TrainSettings(epochs=2, batch_size=50, **changes))
        return model[1].weight.detach()

    plain, both = weights(), weights(mirror=True, erase=0.5)
    assert torch.equal(both, weights(mirror=True, erase=0.5))
    assert all(not torch.equal(plain, weights(**changes)) for changes in ({"mirror": True}, {"erase": 0.5}))


def test_presets_fill_in_open_settings():
    settings = TrainSettings(preset="best", epochs=3).resolve("recentered")
    assert (settings.epochs, settings.erase) == (3, PRESETS["best"]["recentered"].erase)
    assert TrainSettings(preset="quick").resolve("invariant").epochs == PRESETS["quick"]["invariant"].epochs
    assert TrainSettings().resolve("recentered").mirror is RECIPES["recentered"].mirror
    assert TrainSettings(mirror=False).resolve("recentered").mirror is False


@pytest.mark.parametrize("changes, message", [
    ({"erase": 1.5}, "erase must be a fraction from 0 to 1, got 1.5"),
    ({"erase": float("nan")}, "erase must be a fraction from 0 to 1, got nan"),
    ({"preset": "slow"}, "preset must be default, quick or best, got 'slow'")])
def test_invalid_settings_are_named(changes, message):
    with pytest.raises(UsageError, match=message):
        TrainSettings(**changes)


def test_a_missing_preset_lists_the_models_that_have_it():
    with pytest.raises(UsageError, match="preset 'quick' has no recipe for two-full: .* recentered, invariant"):
        TrainSettings(preset="quick").resolve("two-full")
