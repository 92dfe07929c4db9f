import numpy as np
import pytest
import torch

from shiftscope.auditing import audit
from shiftscope.data import from_images
from shiftscope.evaluation import evaluate
from shiftscope.placement import Placement
from shiftscope.reporting import alt_text, audit_figures, confusion_matrix, render_figure
from shiftscope.reporting.confusion import confusion_payload, row_fractions, shown_classes, top_confusions
from shiftscope.reporting.explorer import explorer_payload


def numbers(figure) -> np.ndarray:
    axes = figure.axes[0]
    size = len(axes.get_yticks())
    cells = np.full((size, size), "", dtype=object)
    for text in axes.texts:
        column, row = text.get_position()
        cells[row, column] = text.get_text()
    return cells


def test_numbers_are_percent_of_the_true_class(make_evaluation):
    confusion = np.array([[8, 2, 0], [0, 100, 0], [995, 1, 4]])
    figure = confusion_matrix(make_evaluation(confusion=confusion))
    assert numbers(figure).tolist() == [["80", "20", "·"], ["·", "100", "·"], ["100", "<1", "<1"]]
    axes = figure.axes[0]
    assert "true" in axes.get_ylabel() and "predicted" in axes.get_xlabel()
    assert "%" in figure.axes[1].get_ylabel()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 0", "class 1", "class 2"]
    assert "class 2 predicted as class 0" in alt_text(figure)


def test_the_diagonal_is_framed(make_evaluation):
    figure = confusion_matrix(make_evaluation())
    assert [patch.get_xy() for patch in figure.axes[0].patches] == [(k - 0.5, k - 0.5) for k in range(3)]


def test_centered_shows_the_other_matrix(make_evaluation):
    evaluation = make_evaluation()
    assert numbers(confusion_matrix(evaluation, centered=True)).tolist() == [
        ["100", "·", "·"], ["·", "100", "·"], ["·", "·", "100"]]
    assert "centered, accuracy 100.0 %. Most frequent errors: none." in alt_text(
        confusion_matrix(evaluation, centered=True))
    assert "random placements, accuracy 66.7 %" in alt_text(confusion_matrix(evaluation))


def test_a_class_without_images_has_dashes_instead_of_numbers(make_evaluation):
    figure = confusion_matrix(make_evaluation(confusion=np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]])))
    assert numbers(figure)[0].tolist() == ["–"] * 3
    assert np.isnan(row_fractions(np.zeros((2, 2), int))).all()
    note = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "Gray rows: 1 classes without images. Not included: 10 predictions that are not finite." in note
    complete = " ".join(text.get_text() for text in confusion_matrix(make_evaluation()).texts)
    assert "Gray rows" not in complete and "Not included" not in complete


def test_top_confusions_are_sorted_by_fraction_not_by_count():
    confusion = np.array([[900, 100, 0], [5, 5, 0], [1, 0, 99]])
    assert top_confusions(confusion, ["a", "b", "c"], most=2) == ["b predicted as a (50 %)", "a predicted as b (10 %)"]


@pytest.mark.parametrize("classes", [2, 26, 100])
def test_any_number_of_classes_and_hostile_names(make_evaluation, classes):
    names = ["</script><img onerror=x>", "$a$", *("long " * 30 for _ in range(classes - 2))]
    figure = confusion_matrix(make_evaluation(classes=classes, images=classes * 3, class_names=names))
    assert render_figure(figure, "png")
    assert bool(figure.axes[0].texts) == (classes <= 25)
    width, height = figure.get_size_inches()
    assert width < 14 and height < 14
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert max(map(len, labels)) <= 20 and r"\$" not in labels[0]


def test_names_of_classes_stay_on_the_page(make_evaluation):
    figure = confusion_matrix(make_evaluation(class_names=["Extraordinarily long"] * 3))
    render_figure(figure, "png")
    axes = figure.axes[0]
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label):
        box = label.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0, label.get_text()


def test_figures_of_a_model_with_1000_outputs_show_the_classes_that_occur():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(240, 1000)).eval()
    images = np.random.default_rng(0).integers(0, 256, (36, 12, 12), dtype=np.uint8)
    names = [f"c{k}" for k in range(1000)]
    data = from_images(images, np.arange(36) % 12, [f"c{80 * k}" for k in range(12)])
    place = Placement(image=(12, 12), canvas=(16, 15))
    evaluation = evaluate(net, data, placement=place, output_names=names)
    occurring = sorted(set(evaluation.labels.tolist()) | set(evaluation.predictions.tolist()))
    (matrix,) = confusion_payload([evaluation])["matrices"]
    figure = confusion_matrix(evaluation)
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert 12 < len(occurring) <= 48 and set(shown) <= {names[cls] for cls in occurring}
    assert matrix["classes"] == [names[cls] for cls in shown_classes(evaluation.confusion)]
    assert len(matrix["classes"]) == len(occurring)
    assert any("of 1,000 classes are shown" in " ".join(text.get_text().split()) for text in figure.texts)
    found = audit(net, data, placement=place, output_names=names)
    figures = {name: figure for name, figure, _ in audit_figures([found])}
    assert "988 of 1,000 classes have no images" in alt_text(figures["class-maps-Sequential"])
    (group,) = explorer_payload([found])["groups"]
    assert len(group["classes"]) == 1000 and group["labeled"]
    for name, one in figures.items():
        assert max(one.get_size_inches()) < 16, name
