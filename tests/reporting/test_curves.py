import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting import alt_text, render_figure, training_curves


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_both_models_are_in_one_figure_with_units_and_their_final_accuracy(make_training):
    figure = training_curves([make_training(), make_training(model="two-conv", final=0.81, epochs=2)])
    loss, accuracy = figure.axes
    assert "nats" in loss.get_ylabel() and "%" in accuracy.get_ylabel() and "epoch" in accuracy.get_xlabel()
    assert legend(figure) == ["perceptron: training", "convnet: training",
                              "perceptron: validation, final 75.0 %", "convnet: validation, final 81.0 %"]
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), 50)
    np.testing.assert_allclose(accuracy.lines[3].get_ydata(), 81)
    assert list(accuracy.lines[3].get_xdata()) == [1, 2]
    assert any("dropout" in text.get_text() for text in figure.texts)
    assert "convnet: 81.0 %" in alt_text(figure)


def test_lines_differ_in_more_than_color(make_training):
    _, accuracy = training_curves([make_training(), make_training(model="two-conv")]).axes
    looks = {(line.get_marker(), line.get_linestyle()) for line in accuracy.lines}
    assert len(looks) == 4


def test_seeds_become_a_mean_and_a_band_from_minimum_to_maximum(make_training):
    figure = training_curves([make_training(final=final, seed=seed) for seed, final in enumerate((0.7, 0.8, 0.9))])
    _, accuracy = figure.axes
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), 80)
    heights = accuracy.collections[1].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(70), pytest.approx(90))
    assert any("3 seeds" in text.get_text() for text in figure.texts)


def test_a_centered_control_has_its_own_line(make_training):
    figure = training_curves([make_training(), make_training(trained="centered", final=0.88)])
    assert "perceptron, trained centered: validation, final 88.0 %" in legend(figure)


@pytest.mark.parametrize(("final", "shown"), [(None, 1), (float("nan"), 1), (0.5, 2)])
def test_a_missing_validation_has_no_line(make_training, final, shown):
    figure = training_curves([make_training(final=final, epochs=1)])
    assert len(figure.axes[1].lines) == shown
    assert render_figure(figure, "png")


def test_epochs_without_a_loss_are_marked(make_training):
    training = make_training(epochs=5)
    for line in training.history[2:4]:
        line["train_loss"] = float("nan")
    loss, accuracy = training_curves([training]).axes
    (mark,) = [line for line in loss.lines if line.get_marker() == "x"]
    assert mark.get_xdata().tolist() == [3, 4] and loss.get_xlabel() == "epoch (✕: not defined)"
    assert loss.get_xlim()[1] > 4 and accuracy.get_xlabel() == "epoch"


def test_more_models_than_colors_and_hostile_names_are_drawn(make_training):
    figure = training_curves([make_training(model=f"$\\bad{{{k}$ </script>") for k in range(9)])
    assert len(legend(figure)) == 18
    assert render_figure(figure, "svg").count(b"</script>") == 0


def test_synthetic_images_are_credited(make_training):
    figure = training_curves([make_training(dataset="garments")])
    assert any("Images: synthetic garments" in text.get_text() for text in figure.texts)


def test_no_results_raise():
    with pytest.raises(UsageError, match="results must hold at least one training, got none"):
        training_curves([])
