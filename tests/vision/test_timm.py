"""Models of timm go through the public interface as they are."""

import numpy as np
import torch

import shiftscope


def test_a_timm_model_is_evaluated_and_not_changed():
    import timm

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("resnet10t", num_classes=3, in_chans=1)
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (12, 20, 24), dtype=np.uint8)
    data = shiftscope.from_arrays(images, np.arange(12) % 3, images, np.arange(12) % 3)
    place = shiftscope.Placement(image=(20, 24), canvas=(40, 48))

    score = shiftscope.evaluate(model, data, placement=place)

    assert model.training
    assert all(value.equal(state[name]) for name, value in model.state_dict().items())  # batch statistics too
    with torch.no_grad():
        pixels = place.place(torch.from_numpy(images)[:, None], torch.as_tensor(score.offsets)) / 255
        assert model.eval()(pixels).argmax(1).tolist() == score.predictions.tolist()
