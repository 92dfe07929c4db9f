"""Source hf: with a small model saved in a folder, against transformers itself; skipped without transformers."""

import json

import numpy as np
import pytest
import torch

from shiftscope.errors import CheckpointError, UsageError
from shiftscope.models import open_source

transformers = pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path):
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                    image_size=32, patch_size=8, id2label={0: "cat", 1: "crane", 2: "crane"},
                                    label2id={"cat": 0, "crane": 2})
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "net")
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6],
                                      image_std=[0.2, 0.3, 0.4]).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def changed(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def pixel_values(folder, photo):
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    return torch.as_tensor(np.asarray(processor([photo])["pixel_values"]))


@torch.no_grad()
def test_the_model_takes_pixels_and_returns_its_logits(folder, capfd):
    opened = open_source(f"hf:{folder}")
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    own = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    capfd.readouterr()
    torch.testing.assert_close(opened.model(pixels), own(pixel_values(folder, photo)).logits)
    info = opened.info
    assert (info.channels, info.input_size, info.resize, info.crop) == (3, (32, 32), (32, 32), None)
    assert (info.mean, info.std, info.interpolation) == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), "bilinear")
    assert info.class_names == ("cat", "crane (1)", "crane (2)")


def test_nothing_is_printed(folder, capfd):
    open_source(f"hf:{folder}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("values", [
    {"rescale_factor": 1 / 127.5}, {"do_rescale": False}, {"do_normalize": False},
    {"image_processor_type": "EfficientNetImageProcessor", "rescale_factor": 1 / 127.5, "rescale_offset": True},
    {"image_processor_type": "EfficientNetImageProcessor"},
])
def test_the_normalization_is_that_of_the_processor(folder, values):
    changed(folder, "preprocessor_config.json", **values)
    info = open_source(f"hf:{folder}").info
    photo = np.full((32, 32, 3), (10, 100, 250), np.uint8)
    pixels = torch.from_numpy(photo).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(part)[:, None, None] for part in (info.mean, info.std))
    expected = pixel_values(folder, photo)[0]
    torch.testing.assert_close((pixels - mean) / std, expected, atol=1e-4, rtol=1e-4, check_dtype=False)


@pytest.mark.parametrize(("values", "resize", "crop"), [
    ({"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True,
      "image_processor_type": "CLIPImageProcessor"}, 40, (32, 32)),
    ({"size": {"shortest_edge": 32}, "crop_pct": 0.8, "image_processor_type": "ConvNextImageProcessor"}, 40, (32, 32)),
    ({"size": {"shortest_edge": 384}, "crop_pct": 0.8, "image_processor_type": "ConvNextImageProcessor"}, (384, 384),
     None),
])
def test_resize_and_crop(folder, values, resize, crop):
    changed(folder, "preprocessor_config.json", **values)
    info = open_source(f"hf:{folder}").info
    assert (info.resize, info.crop) == (resize, crop)
    photo = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    assert tuple(pixel_values(folder, photo).shape[2:]) == info.input_size


def test_code_and_pickles_in_a_folder_are_not_run(folder, tmp_path):
    harm = tmp_path / "harm"
    code = f"import os\nos.mkdir({str(harm)!r})\nfrom transformers import PretrainedConfig as Own\n"
    (folder / "own.py").write_text(code)
    changed(folder, "config.json", auto_map={"AutoConfig": "own.Own"}, model_type="own")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        open_source(f"hf:{folder}")
    assert not harm.exists()


def test_weights_only_as_safetensors(folder):
    (folder / "model.safetensors").rename(folder / "x")
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be loaded.*safetensors"):
        open_source(f"hf:{folder}")


def test_other_models_and_sizes(folder, tmp_path):
    changed(folder, "preprocessor_config.json", size={"height": 10**6, "width": 10**6})
    with pytest.raises(CheckpointError, match="has the sizes .1000000, 1000000"):
        open_source(f"hf:{folder}")
    transformers.BertConfig(hidden_size=16).save_pretrained(tmp_path / "bert")
    with pytest.raises(UsageError, match="is a bert model, expected an image classifier"):
        open_source(f"hf:{tmp_path / 'bert'}")
    with pytest.raises(CheckpointError, match="has no config.json"):
        open_source(f"hf:{tmp_path}")
