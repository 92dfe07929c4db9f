import pytest
import torch

from shiftscope.devices import tf32

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul


@pytest.fixture(autouse=True)
def restored():
    before = CUDNN.allow_tf32, MATMUL.allow_tf32
    yield
    if hasattr(MATMUL, "fp32_precision"):
        for switch in (CUDNN.conv, CUDNN.rnn, MATMUL):
            switch.fp32_precision = "none"
    CUDNN.allow_tf32, MATMUL.allow_tf32 = before


def test_tf32_is_off_and_restored_after_an_error():
    CUDNN.allow_tf32, MATMUL.allow_tf32 = True, True
    with pytest.raises(KeyError), tf32(allowed=False):
        assert not CUDNN.allow_tf32 and not MATMUL.allow_tf32
        raise KeyError
    assert CUDNN.allow_tf32 and MATMUL.allow_tf32


@pytest.mark.skipif(not hasattr(MATMUL, "fp32_precision"), reason="needs torch 2.9, which has the newer names")
@pytest.mark.parametrize("switch", [MATMUL, getattr(CUDNN, "conv", None)], ids=["matmul", "conv"])
def test_settings_by_the_newer_names_are_restored(switch):
    CUDNN.allow_tf32 = MATMUL.allow_tf32 = False
    switch.fp32_precision = "tf32"
    with tf32(allowed=False):
        assert {part.fp32_precision for part in (CUDNN.conv, MATMUL)} == {"ieee"}
    assert switch.fp32_precision == "tf32"
