import pytest
import torch

from shiftscope.auditing.precision import exact_arithmetic

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul


@pytest.fixture(autouse=True)
def restored():
    before = CUDNN.allow_tf32, MATMUL.allow_tf32
    yield
    if hasattr(MATMUL, "fp32_precision"):
        for switch in (CUDNN.conv, CUDNN.rnn, MATMUL):
            switch.fp32_precision = "none"
    CUDNN.allow_tf32, MATMUL.allow_tf32 = before


def test_tf32_is_off_meanwhile_and_restored_after_an_error():
    CUDNN.allow_tf32, MATMUL.allow_tf32 = True, True
    with pytest.raises(KeyError), exact_arithmetic(torch.device("cpu"), 0):
        assert not CUDNN.allow_tf32 and not MATMUL.allow_tf32
        raise KeyError
    assert CUDNN.allow_tf32 and MATMUL.allow_tf32


@pytest.mark.skipif(not hasattr(MATMUL, "fp32_precision"), reason="needs torch 2.9, which has the newer names")
@pytest.mark.parametrize("switch", [MATMUL, getattr(CUDNN, "conv", None)], ids=["matmul", "conv"])
def test_whoever_uses_the_newer_names_finds_them_as_they_were(switch):
    CUDNN.allow_tf32 = MATMUL.allow_tf32 = False
    switch.fp32_precision = "tf32"
    with exact_arithmetic(torch.device("cpu"), 0):
        assert {part.fp32_precision for part in (CUDNN.conv, MATMUL)} == {"ieee"}
    assert switch.fp32_precision == "tf32"


def test_random_numbers_are_seeded_and_leave_no_trace():
    before, synthetic = torch.get_rng_state(), []
    for _ in range(2):
        with exact_arithmetic(torch.device("cpu"), 3):
            synthetic.append(torch.rand(4))
    assert synthetic[0].equal(synthetic[1]) and torch.get_rng_state().equal(before)
