import numpy as np
import pytest
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, classified_gallery, image_credit, render_figure, sample_gallery
from shiftscope.reporting.figure_style import CORRECT, INCORRECT
from shiftscope.reporting.image_grid import GridLayout, to_rgb

HOSTILE = ["</script><img onerror=alert(1)>", "$x$ and $", "a very long name " * 20]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for place in (figure, *figure.axes) for text in place.texts]


def samples(count: int, channels: int = 1, size: tuple[int, int] = (20, 20)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, *size), dtype=np.uint8)


def test_sample_gallery_shows_four_of_each_class_under_its_name():
    labels = np.array([0] * 6 + [1] * 3 + [3])
    canvases = samples(10)
    figure = sample_gallery(canvases, labels, ["shirt", "coat", "bag", "shoe"], caption="from here")
    (axes,) = figure.axes
    assert len(axes.images) == 4 + 3 + 1
    assert [text.get_text() for text in axes.texts] == ["shirt", "coat", "shoe"]
    np.testing.assert_array_equal(np.asarray(axes.images[4].get_array())[..., 0], canvases[6, 0])
    assert "from here" in texts(figure)[-4] and "bag" not in alt_text(figure)


def test_images_of_a_class_are_below_its_name():
    figure = sample_gallery(samples(8), np.repeat(np.arange(4), 2), list("abcd"), caption="", per_class=2)
    (axes,) = figure.axes
    for place, text in enumerate(axes.texts):
        x, y = text.get_position()
        left, _, _, top = axes.images[2 * place].get_extent()
        assert left == pytest.approx(x) and 0 < top - y < 0.1
    (a, b, c, _) = (text.get_position() for text in axes.texts)
    assert a[0] == b[0] < c[0] and a[1] == c[1] < b[1]  # classes run down, then to the next column


def test_the_number_of_classes_is_limited():
    figure = sample_gallery(samples(100), np.arange(100), [f"class {k}" for k in range(100)], caption="here")
    assert len(figure.axes[0].images) == 24
    assert any("24 of 100 classes" in text for text in texts(figure))


@pytest.mark.parametrize(("channels", "size"), [(3, (20, 40)), (1, (60, 8)), (4, (8, 60)), (2, (1, 1))])
def test_color_and_rectangular_canvases_keep_their_proportions(channels, size):
    figure = sample_gallery(samples(3, channels, size), np.arange(3), HOSTILE, caption="$5")
    left, right, bottom, top = figure.axes[0].images[0].get_extent()
    assert (bottom - top) / (right - left) == pytest.approx(size[0] / size[1])
    assert render_figure(figure, "png") and render_figure(figure, "svg")


def test_to_rgb_keeps_colors_and_averages_two_channels():
    color = samples(2, 3)
    np.testing.assert_array_equal(to_rgb(color)[1, 4, 5], color[1, :, 4, 5])
    two = np.array([10, 20], np.uint8).reshape(1, 2, 1, 1)
    assert to_rgb(two).tolist() == [[[[15, 15, 15]]]]
    with pytest.raises(UsageError, match=r"uint8 of shape \(N, C, H, W\), got float64 \(1, 2, 3\)"):
        to_rgb(np.zeros((1, 2, 3)))


def test_classified_gallery_marks_errors_by_color_frame_sign_and_word(make_evaluation):
    evaluation = make_evaluation()
    figure = classified_gallery(evaluation)
    (axes,) = figure.axes
    frames, words = axes.patches, [text.get_text() for text in axes.texts]
    correct = (evaluation.predictions == evaluation.labels)[:8]
    assert correct.sum() == 6
    for cell, is_correct in enumerate(correct):
        result, true, predicted = words[3 * cell:3 * cell + 3]
        assert result == ("✓ correct, 75 %" if is_correct else "✗ incorrect, 75 %")
        assert true == f"true: class {evaluation.labels[cell]}"
        assert predicted == f"pred: class {evaluation.predictions[cell]}"
        assert axes.texts[3 * cell].get_color() == (CORRECT if is_correct else INCORRECT)
        assert (frames[cell].get_linestyle() == "solid") == is_correct
    assert "6 of 8 correct" in texts(figure)[0]
    assert "Accuracy on all 12: 66.7\N{NO-BREAK SPACE}%." in texts(figure)[1]


def test_each_prediction_is_below_its_image(make_evaluation):
    evaluation = make_evaluation()
    axes = classified_gallery(evaluation).axes[0]
    for cell in range(8):
        left, _, bottom, _ = axes.images[cell].get_extent()
        x, y = axes.texts[3 * cell].get_position()
        assert (x, y) == (pytest.approx(left), pytest.approx(bottom + 0.06))
        np.testing.assert_array_equal(np.asarray(axes.images[cell].get_array())[..., 0],
                                      evaluation.gallery_canvases[cell, 0])


def test_classified_gallery_looks_up_images_by_their_index(make_evaluation):
    evaluation = make_evaluation(gallery_index=np.array([2, 0]), gallery_canvases=samples(2))
    words = [text.get_text() for text in classified_gallery(evaluation).axes[0].texts]
    assert words == ["✗ incorrect, 75 %", "true: class 2", "pred: class 0", "✓ correct, 75 %", "true: class 0",
                     "pred: class 0"]


def test_nonfinite_outputs_count_as_incorrect(make_evaluation):
    evaluation = make_evaluation(images=1, predictions=np.array([-1]), confidence=np.array([np.nan], np.float32),
                                 accuracy={"random": float("nan"), "centered": 0.0}, class_names=HOSTILE)
    figure = classified_gallery(evaluation)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words[0] == "✗ incorrect, –" and words[2] == "pred: non-finite"
    assert "nan" not in " ".join(texts(figure))
    assert max(map(len, words)) <= 19  # a longer one would run into its neighbor
    assert render_figure(figure, "svg")


@pytest.mark.parametrize(("dataset", "synthetic", "credit"), [
    ("fashion-mnist", False, "Images: Fashion-MNIST, (c) 2017 Zalando SE, MIT license"),
    ("garments", True, "Images: synthetic garments"),
    ("anything", True, "Images: synthetic garments"),
])
def test_figures_credit_their_images(make_evaluation, dataset, synthetic, credit):
    figure = classified_gallery(make_evaluation(dataset=dataset, synthetic=synthetic))
    assert any(credit in text for text in texts(figure)) and credit in alt_text(figure)
    assert image_credit(dataset, synthetic=synthetic) == credit


def test_cells_of_a_layout_do_not_overlap():
    layout = GridLayout(count=7, columns=4, size=(10, 30), above=0.2, below=0.3, group=2)
    corners = np.array([layout.corner(cell) for cell in range(7)])
    height, width = layout.image
    assert (height, width) == (pytest.approx(1 / 3), 1.0)
    for a in range(7):
        for b in range(a):
            down, right = np.abs(corners[a] - corners[b])
            assert right >= width or down >= height + 0.5
    assert (corners.max(axis=0) + np.array([height + 0.3, width]) <= np.array(layout.extent) + 1e-9).all()


def test_a_gallery_without_images_raises(make_evaluation):
    with pytest.raises(UsageError, match="number of images must be at least 1"):
        classified_gallery(make_evaluation(gallery_index=np.zeros(0, int),
                                           gallery_canvases=np.zeros((0, 1, 4, 4), np.uint8)))
    with pytest.raises(UsageError, match="number of images must be at least 1"):
        sample_gallery(samples(1), np.array([7]), ["a"], caption="")
