import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.layers import GeM, GlobalMaxPool


@pytest.mark.parametrize("pool", [GlobalMaxPool(), GeM(), GeM(1.7, learn=False)])
def test_invariant_to_shifts_but_not_constant(pool):
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    still = pool.double()(x)
    assert still.shape == (2, 3) and (still[0] - still[1]).abs().max() > 1e-2
    for dy in range(4):
        for dx in range(5):
            torch.testing.assert_close(pool(x.roll((dy, dx), (2, 3))), still, rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 8.0])
def test_gem_is_the_generalized_mean(p):
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64) + 0.01
    values = x.flatten(2)
    expected = (sum(values[..., k] ** p for k in range(20)) / 20) ** (1 / p)
    torch.testing.assert_close(GeM(p).double()(x), expected, rtol=1e-12, atol=0)


def test_gem_is_between_mean_and_maximum():
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64) + 0.5
    torch.testing.assert_close(GeM(1.0).double()(x), x.mean((2, 3)), rtol=1e-12, atol=0)
    torch.testing.assert_close(GeM(400.0).double()(x), GlobalMaxPool()(x), rtol=0.01, atol=0)


def test_the_exponent_is_saved_as_parameter_or_buffer():
    assert [name for name, _ in GeM().named_parameters()] == ["p"]
    fixed = GeM(2.0, learn=False)
    assert not list(fixed.parameters()) and fixed.state_dict()["p"].item() == 2.0


def test_gradients_of_maps_and_exponent():
    x = (torch.rand(1, 2, 3, 4, dtype=torch.float64) + 0.1).requires_grad_()
    gem = GeM(2.5).double()
    assert torch.autograd.gradcheck(lambda values, p: torch.func.functional_call(gem, {"p": p}, (values,)),
                                    (x, gem.p))
    assert torch.autograd.gradcheck(GlobalMaxPool(), (x,))


def test_ties_share_the_gradient_of_the_maximum():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    GlobalMaxPool()(x).sum().backward()
    assert x.grad is not None and x.grad.eq(0.25).all()


@pytest.mark.parametrize("p", [3.0, 12.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_zero_maps_and_half_precision_give_finite_outputs_and_gradients(p, dtype):
    x = torch.zeros(1, 2, 4, 4, dtype=dtype)
    x[:, 1] = torch.rand(4, 4)
    x.requires_grad_()
    gem = GeM(p).to(dtype)
    found = gem(x)
    found.sum().backward()
    assert found.dtype == dtype and found.isfinite().all() and found[0, 0] < 0.01 < found[0, 1]
    assert x.grad is not None and x.grad.isfinite().all() and gem.p.grad is not None and gem.p.grad.isfinite()


@pytest.mark.parametrize("call, message", [
    (lambda: GeM(0.0), "p must be above 0, got 0.0"),
    (lambda: GeM(eps=0.0), "eps must be above 0, got 0.0"),
    (lambda: GeM()(torch.zeros(2, 3)), r"GeM takes maps \(batch, channel, height, width\), got \(2, 3\)"),
    (lambda: GlobalMaxPool()(torch.zeros(2, 3)), "GlobalMaxPool takes maps"),
    (lambda: GlobalMaxPool()(torch.zeros(2, 3, 0, 4)), "GlobalMaxPool needs maps of at least 1 x 1, got 0 x 4"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
