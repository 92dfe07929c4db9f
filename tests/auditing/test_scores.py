import numpy as np
import pytest
import torch

from shiftscope.auditing import audit
from shiftscope.auditing.scores import scores
from shiftscope.data.base import Subset


@pytest.mark.parametrize("engine", ["dense", "brute"])
def test_scores_are_those_of_the_audit(made, place, engine):
    data, model = made.noise(count=20), made.SmallNet()
    whole = audit(model, data, placement=place, engine=engine)
    chosen = torch.tensor([17, 3, 11, 0, 5, 9, 14, 1])
    found = scores(model, Subset(data.test, chosen), 3, placement=place, engine=engine)
    assert found.predictions.tolist() == whole.predictions[chosen].tolist()
    rows = [whole.shown_index.tolist().index(number) for number in chosen.tolist()]
    np.testing.assert_allclose(found.logits, whole.shown_logits[rows], atol=2e-3)  # half precision
    assert found.logits.shape == (8, place.count, 3) and found.logits.dtype == np.float16


def test_sampled_placements_stay_the_same(made, place):
    data, model = made.noise(count=8), made.SmallNet()
    whole = audit(model, data, placement=place, sample=10, seed=3)
    found = scores(model, Subset(data.test, torch.tensor([6, 2])), 3, placement=place, engine="brute",
                   offsets=torch.from_numpy(whole.offsets))
    assert found.predictions.tolist() == whole.predictions[[6, 2]].tolist()


def test_the_model_is_left_in_train_mode(made, place):
    model = made.SmallNet().train()
    scores(model, made.noise(count=2).test, 3, placement=place)
    assert model.training
