import pytest
import torch

from shiftscope.dense import NotDense
from shiftscope.dense.phases import PhasesEngine, build_engine
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.layers import PhaseAverage
from shiftscope.models import TwoConvTwoFullNet
from shiftscope.models.repair import repair
from shiftscope.placement import Placement


def net(canvas):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoConvTwoFullNet(canvas=canvas, classes=4).double().eval()


@pytest.mark.parametrize("mode", ["canvas", "circular"])
@pytest.mark.parametrize("of", ["logits", "probabilities"])
def test_it_equals_the_plain_model_at_every_placement(mode, of):
    place = Placement(image=(6, 9), canvas=(16, 20), mode=mode, background=40)
    average = PhaseAverage(net((16, 20)), (4, 2), of=of).eval()
    images = torch.randint(0, 256, (3, 1, 6, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    engine = PhasesEngine(average, place, (1, 6, 9))
    found, plain = engine.logits(images), BruteForceEngine(average, place, (1, 6, 9)).logits(images)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-9)
    assert (found[0] - found[1]).abs().max() > 1e-2 and (found[:, 0] - found[:, 7]).abs().max() > 1e-6


def test_placements_that_are_no_rolls_are_refused():
    average = PhaseAverage(net((16, 20)), 4)
    for place, shape in ((Placement(image=(20, 24), canvas=(16, 20), mode="crop"), (1, 20, 24)),
                         (Placement(image=(6, 9), canvas=(16, 20), background=torch.zeros(16, 20, dtype=torch.uint8)),
                          (1, 6, 9))):
        with pytest.raises(NotDense, match="the placements are no rolls of one canvas"):
            PhasesEngine(average, place, shape)


def test_a_repaired_model_is_seen_through_and_any_other_goes_dense():
    place = Placement(image=(6, 9), canvas=(16, 20))
    repaired = repair(net((16, 20)), (1, 16, 20), method="phase-average")
    assert isinstance(build_engine(repaired, place, (1, 6, 9)), PhasesEngine)
    assert not isinstance(build_engine(net((16, 20)), place, (1, 6, 9)), PhasesEngine)
