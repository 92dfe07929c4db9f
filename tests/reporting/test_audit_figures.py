import dataclasses
import math

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from shiftscope.errors import UsageError
from shiftscope.reporting import (
    accuracy_map,
    alt_text,
    audit_figures,
    class_maps,
    correct_placements_histogram,
    inconsistent_images,
    layer_profile,
    phase_tables,
    render_figure,
)
from shiftscope.reporting.audit_grid import PlacementGrid, common_scale, describe_audits
from shiftscope.reporting.audit_histogram import correct_histogram
from shiftscope.reporting.audit_images import LABEL_COLORS, outline, shown_consistency
from shiftscope.results import Equivariance


def words(figure) -> str:
    """All text of a figure."""
    texts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        texts += [text.get_text() for text in axes.texts]
        texts += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
    return " ".join(texts).replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")


def circular(audit_of, **changed):
    """One image of class 0 on a torus of 4 x 6, correct only at the offset (3, 1), which is one up and one right."""
    right = np.zeros((4, 6), bool)
    right[3, 1] = True
    logits = np.eye(2)[np.where(right, 0, 1)].reshape(1, 24, 2)
    place = {"image": [2, 2], "canvas": [4, 6], "mode": "circular", "background": 0, "placements": 24}
    return audit_of(logits, np.array([0]), np.arange(4), np.arange(6), mode="circular", placement=place, **changed)


def test_the_accuracy_map_has_dy_down_and_dx_right(make_audit):
    audit = make_audit()
    figure = accuracy_map([audit])
    axes, scale = figure.axes
    assert np.array_equal(axes.images[0].get_array(), audit.accuracy_map) and audit.accuracy_map.shape == (5, 7)
    assert axes.get_ylabel() == "offset dy (down)" and axes.get_xlabel() == "offset dx (right)"
    assert axes.get_ylim() == (4.5, -0.5) and axes.get_xlim() == (-0.5, 6.5)
    numbers = {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert numbers[0, 0] == "100" and numbers[0, 6] == f"{100 * audit.accuracy_map[0, 6]:.0f}" != numbers[4, 0]
    assert [patch.get_xy() for patch in axes.patches] == [(2.5, 1.5)] * 2  # the middle offset is (2, 3)
    assert "%" in scale.get_ylabel()
    width, height = figure.get_size_inches()
    assert width < 12 and height < 12 and render_figure(figure, "png")


def test_metrics_placements_and_credit_are_written(make_audit):
    audit = make_audit()
    text = words(accuracy_map([audit]))
    for part in ("Accuracy by position: perceptron",
                 "12 test images at all 35 placements (exact), mode canvas, 28 x 28 on 32 x 34.",
                 "worst case", "consistency", "unanimity",
                 "MIT license", "highest 100.0 % at dy 0, dx 0",
                 f"{100 * audit.mean_accuracy:.1f} %", f"{100 * audit.worst_case_accuracy:.1f} %",
                 f"({100 * audit.mean_accuracy - 1:.1f}–{100 * audit.mean_accuracy + 1:.1f})"):
        assert part in text, part
    synthetic = make_audit(synthetic=True, dataset="garments")
    for figure in (accuracy_map([synthetic]), class_maps(synthetic), correct_placements_histogram([synthetic]),
                   inconsistent_images(synthetic), phase_tables(synthetic)):
        assert "Images: synthetic garments" in words(figure) and "Images: synthetic garments" in alt_text(figure)
        assert "(exact)" in words(figure) and "mode canvas" in words(figure)


def test_two_models_share_one_scale(make_audit):
    first = make_audit()
    other = make_audit(model="two-conv", accuracy_map=first.accuracy_map * 0.5)
    figure = accuracy_map([first, other])
    ranges = {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in figure.axes[:2]}
    assert ranges == {(common_scale([other.accuracy_map]).vmin, 1.0)}
    assert "Accuracy by position: perceptron and convnet" in words(figure)
    assert words(figure).count("(exact)") == 1
    assert words(accuracy_map([first, dataclasses.replace(first, images=5)])).count("(exact)") == 2  # not made alike


def test_in_circular_mode_the_unshifted_image_is_in_the_middle(audit_of):
    audit = circular(audit_of)
    grid = PlacementGrid(audit)
    assert [part.tolist() for part in grid.axes] == [[-1, 0, 1, 2], [-2, -1, 0, 1, 2, 3]]
    assert grid.middle == (1, 2)
    picture = grid.arrange(audit.accuracy_map)
    assert np.argwhere(picture == 1).tolist() == [[0, 3]]  # dy -1, dx 1
    assert np.array_equal(grid.scatter(audit.accuracy_map.ravel()), picture)
    assert "highest 100.0 % at dy -1, dx 1" in words(accuracy_map([audit]))
    labels = inconsistent_images(audit).axes[2].images[0].get_array()
    assert np.argwhere((np.asarray(labels) == to_rgb(LABEL_COLORS[0])).all(axis=-1)).tolist() == [[0, 3]]


def test_sampled_audits_are_marked_and_missing_cells_stay_empty(make_audit, audit_of):
    logits = np.eye(2)[np.zeros((3, 24), int)]
    few = audit_of(logits, np.zeros(3, int), np.arange(4), np.arange(6), np.array([1, 22]))
    assert "2 of 24 placements (sampled)" in describe_audits(few)
    figure = accuracy_map([few])
    assert "exact" not in words(figure) and "were not computed" in words(figure)
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[1, 0], [4, 3]] and not figure.axes[0].images
    most = audit_of(logits, np.zeros(3, int), np.arange(4), np.arange(6), np.arange(20))
    assert np.isnan(accuracy_map([most]).axes[0].images[0].get_array().filled(np.nan)).sum() == 4
    for audit in (few, most):
        for figure in (class_maps(audit), correct_placements_histogram([audit]), inconsistent_images(audit),
                       phase_tables(audit)):
            assert render_figure(figure, "png") and "(sampled)" in words(figure)


def test_limited_and_interrupted_audits_are_described(make_audit):
    audit = make_audit(partial=True)
    place = audit.placement | {"max_shift": 4, "step": 2}
    said = describe_audits(dataclasses.replace(audit, placement=place)).replace("\N{NO-BREAK SPACE}", " ")
    assert said == ("The first 12 test images at all 35 placements (exact), mode canvas, 28 x 28 on 32 x 34, at most 4 "
                    "pixels from the middle, every 2 pixels. The audit was interrupted.")


def test_class_maps_share_a_scale_and_omit_empty_classes(make_audit):
    audit = make_audit(class_names=["Bag", "$a$ " + "long " * 20, "Shirt", "none"])
    audit = dataclasses.replace(audit, per_class=[*audit.per_class, None],
                                class_maps=np.concatenate([audit.class_maps, np.full((1, 5, 7), np.nan)]))
    figure = class_maps(audit)
    maps = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(maps) == 3 and len({axes.images[0].norm.vmin for axes in maps}) == 1
    assert np.allclose(maps[2].images[0].get_array(), audit.class_maps[2])
    low, high = 100 * audit.class_maps[2].min(), 100 * audit.class_maps[2].max()
    assert maps[2].get_title(loc="left") == f"Shirt\n{100 * audit.per_class[2]:.0f} % ({low:.0f}–{high:.0f})"
    assert "Classes without images: none." in words(figure)
    assert "The 2 classes with the lowest accuracy" in words(class_maps(audit, limit=2))
    assert render_figure(figure, "png")


@pytest.mark.parametrize("placements", [1, 4, 21, 22, 841])
def test_each_image_is_in_one_bin(placements):
    counts = np.random.default_rng(0).integers(0, placements + 1, 500)
    bars = correct_histogram(counts, placements)
    assert bars.never + bars.always + bars.between.sum() == pytest.approx(1)
    assert bars.never == (counts == 0).mean() and bars.always == (counts == placements).mean()
    assert len(bars.edges) == len(bars.between) + 1
    shares = counts / placements
    inside = (shares > 0) & (shares < 1) & (shares >= bars.edges[0]) & (shares < bars.edges[1]) if placements > 1 else \
        np.zeros(0)
    assert placements == 1 or bars.between[0] == pytest.approx(inside.mean())


def test_the_histogram_labels_both_ends(make_audit):
    audit = make_audit()
    figure = correct_placements_histogram([audit, make_audit(model="two-conv")])
    ends = [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
    assert ends == ["0.0", f"{100 * (audit.correct_counts == 35).mean():.1f}"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["perceptron", "convnet"]


def test_inconsistent_images_have_the_lowest_consistency(make_audit, audit_of):
    audit = make_audit()
    consistency = shown_consistency(audit)
    fractions = [np.unique(row, return_counts=True)[1] / len(row) for row in audit.predictions[audit.shown_index]]
    expected = [(part**2).sum() for part in fractions]
    assert consistency == pytest.approx(expected) and len(expected) == 12
    lowest = np.argsort(expected, kind="stable")[:3]
    figure = inconsistent_images(audit, limit=3)
    assert figure.get_label().startswith("Least stable images: perceptron. The 3 images")
    for place in lowest:
        assert f"image {audit.shown_index[place]}" in words(figure)
    assert lowest[0] == 0
    true = int(audit.labels[audit.shown_index[0]])
    assert f"({'ABC'[true]})" in words(figure)
    pixels = np.asarray(figure.axes[2].images[0].get_array())
    right = (audit.predictions[audit.shown_index[0]] == true).reshape(5, 7)
    assert np.array_equal((pixels == to_rgb(LABEL_COLORS[true])).all(axis=-1), right)
    assert sorted(map(np.ndarray.tolist, figure.axes[2].collections[0].get_segments())) == sorted(
        [list(point) for point in edge] for edge in outline(right))
    with pytest.raises(UsageError, match="limit must be at least 1"):
        inconsistent_images(audit, limit=0)


def test_nonfinite_predictions_are_marked(audit_of):
    logits = np.zeros((1, 12, 2))
    logits[0, 3] = np.nan
    audit = audit_of(logits, np.array([0]), np.arange(3), np.arange(4))
    text = words(inconsistent_images(audit))
    assert "?" in text and "non-finite" in text


def test_the_outline_surrounds_a_region():
    inside = np.zeros((4, 5), bool)
    inside[1:3, 2:4] = True
    edges = {tuple(map(tuple, edge)) for edge in outline(inside)}
    assert edges == {((1.5, 0.5), (2.5, 0.5)), ((2.5, 0.5), (3.5, 0.5)), ((1.5, 2.5), (2.5, 2.5)),
                     ((2.5, 2.5), (3.5, 2.5)), ((1.5, 0.5), (1.5, 1.5)), ((1.5, 1.5), (1.5, 2.5)),
                     ((3.5, 0.5), (3.5, 1.5)), ((3.5, 1.5), (3.5, 2.5))}


def test_phase_tables_have_dy_down(make_audit):
    audit = make_audit(by_phase={"2": [[0.5, 0.75], [1.0, None]], "4": [[0.5] * 4] * 4})
    figure = phase_tables(audit)
    two = figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in two.texts}
    assert cells == {(0, 0): "50.0", (1, 0): "75.0", (0, 1): "100.0", (1, 1): "–"}
    assert "dy mod 2" in two.get_ylabel() and "dx mod 2" in two.get_xlabel()
    assert "50.0 points for stride 2 and 0.0 points for stride 4" in words(figure)


@pytest.fixture
def profile() -> Equivariance:
    inf, nan = math.inf, math.nan
    return Equivariance(
        model="two-conv", dataset="garments", synthetic=True, split="test", mode="canvas", images=4, start=[0, 0],
        placement={"image": [4, 5], "canvas": [8, 9], "mode": "canvas"},
        shifts=[0, 1, 2], layers=["conv", "pool", "$dead$", "fc"],
        kinds=["map", "map", "map", "units"], shapes=[[1, 6, 7], [1, 3, 2], [1, 3, 2], [4]],
        strides=[[1, 1], [2, 3], [2, 3], None], overall=[None, 12.4, None, -3.6], drops=[0.0, 37.6, None, None],
        loses_most="pool", seconds=0.1, device="cpu", notes=[], decibels=np.array([
            [[inf] * 3] * 2, [[inf, 9.6, inf], [inf, 8.2, 7.4]], [[nan] * 3] * 2, [[inf, -3.6, 4.0], [inf, 1.0, 2.0]]]))


def test_the_profile_has_one_row_per_layer_and_names_the_largest_loss(profile):
    figure = layer_profile(profile)
    down, right, losses = figure.axes
    numbers = {tuple(map(round, text.get_position()[::-1])): text.get_text() for text in right.texts}
    assert numbers == {(0, 0): "∞", (0, 1): "∞", (1, 0): "8", (1, 1): "7", (2, 0): "–", (2, 1): "–", (3, 0): "1",
                       (3, 1): "2"}
    assert [label.get_text() for label in down.get_yticklabels()] == [
        "conv, stride 1", "pool, stride 2 x 3", r"\$dead\$, stride 2 x 3", "fc •"]
    assert [text.get_text() for text in down.texts][6] == "−4"
    assert [text.get_text() for text in losses.texts] == ["0", "38 largest", "–", "–"]
    assert "–: not defined." in words(figure)
    assert "Largest loss: pool." in words(figure) and "synthetic garments" in words(figure)
    assert "conv, stride 1: ∞ dB; pool, stride 2 x 3: 12 dB" in alt_text(figure)
    assert render_figure(figure, "svg")


def test_audit_figures_have_unique_names(make_audit, profile):
    figures = audit_figures([make_audit(), make_audit(), make_audit(model="a b:C")], [profile])
    assert isinstance(figures, list) and figures[0].name == "accuracy-map"
    names = [figure.name for figure in figures]
    assert names[:4] == ["accuracy-map", "placements-right", "agreement-map", "class-maps-two-full"]
    assert names[-1] == "layers-two-conv"
    assert len(set(names)) == len(names) == 13
    assert all(figure.caption.endswith(".") and alt_text(figure.figure) for figure in figures)
    with pytest.raises(UsageError, match="at least one audit"):
        audit_figures([])


def test_hostile_names_stay_text(make_audit):
    audit = make_audit(model="$x$ <b>", dataset="folder:$y$", class_names=["$a$", "</script>", "long " * 30])
    for figure in audit_figures([audit]):
        assert render_figure(figure.figure, "png")
