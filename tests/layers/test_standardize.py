import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.layers import Standardize


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (7, 1, 0, 20, 12)])
def test_statistics_do_not_depend_on_the_batches(sizes):
    rows = torch.randn(40, 5, dtype=torch.float64) * torch.tensor([1, 10, 0.1, 3, 0]) + 4
    standardize = Standardize(5).double()
    for part in rows.split(sizes):
        standardize(part)
    torch.testing.assert_close(standardize.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(standardize.variance, rows.var(0, correction=0), rtol=1e-12, atol=1e-12)
    assert int(standardize.seen) == 40
    done = standardize.eval()(rows)
    torch.testing.assert_close(done[:, :4].std(0, correction=0), torch.ones(4, dtype=torch.float64), rtol=1e-3, atol=0)
    assert done[:, 4].abs().max() < 1e-6  # a column that never varies


def test_rows_do_not_depend_on_the_batch_and_eval_mode_updates_nothing():
    standardize = Standardize(3)
    standardize(torch.randn(20, 3))
    before = {name: value.clone() for name, value in standardize.state_dict().items()}
    rows = torch.randn(6, 3)
    whole = standardize.eval()(rows)
    assert torch.cat([standardize(row[None]) for row in rows]).equal(whole)
    assert all(value.equal(before[name]) for name, value in standardize.state_dict().items())


def test_gradients_flow_through_but_not_into_the_statistics():
    rows = torch.randn(4, 2, requires_grad=True)
    standardize = Standardize(2)
    standardize(rows).sum().backward()
    torch.testing.assert_close(rows.grad, (1 / (standardize.variance.sqrt() + 1e-5)).expand(4, 2))
    assert not standardize.mean.requires_grad


def test_bad_input_is_named():
    with pytest.raises(UsageError, match=r"features must be \(batch, 3\), got \(2, 4\)"):
        Standardize(3)(torch.zeros(2, 4))
    with pytest.raises(UsageError, match="features must be a positive integer, got 0"):
        Standardize(0)
