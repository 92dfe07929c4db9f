import torch

from shiftscope.data import load_dataset
from shiftscope.models import TwoFullNet
from shiftscope.placement import Placement
from shiftscope.results import load_record
from shiftscope.workflows.syntheses import default_syntheses


def test_a_run_searches_a_twentieth_of_the_test_images_at_some_placements(npz, tmp_path):
    data, place = load_dataset(f"npz:{npz}"), Placement(image=(12, 12), canvas=(24, 26))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TwoFullNet(5, canvas=(24, 26), classes=3)
    classes, neurons = default_syntheses(model, data, place, "two-full")
    for measured in (classes, neurons):
        assert measured.neighbors is not None and measured.neighbors.images == 60 // 20
        assert measured.neighbors.placements <= 64 and measured.neighbors.possible == place.count == 13 * 15
        assert measured.quality.units == measured.neighbors.units == measured.synthesis.units
    assert neurons.quality.dead is not None and classes.quality.dead is None
    assert classes.synthesis.class_names == ["top", "middle", "bottom"]
    classes.save(tmp_path)
    kinds = {folder: load_record(tmp_path / folder).kind for folder in ("", "neighbors", "quality")}
    assert kinds == {"": "synthesis", "neighbors": "neighbors", "quality": "quality"}
