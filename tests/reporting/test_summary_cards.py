"""The cards at the top of a report, against the results."""

import base64
import dataclasses
import io

import numpy as np
from matplotlib import colormaps
from PIL import Image

from shiftscope.reporting.summary_cards import summary_cards


def read(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_a_card_has_the_metrics_and_the_map_of_its_audit(make_audit, make_training, make_evaluation):
    audits = [make_audit(), make_audit(model="other", trained="centered")]
    one, other = summary_cards(audits, [make_training()], [make_evaluation()])
    assert (one.title, one.details) == ("perceptron", "trained on random placements, 314,710 parameters")
    assert (other.title, other.details) == ("other, trained centered", "trained on centered images")
    mean = 100 * audits[0].mean_accuracy
    assert one.metrics[0] == ("Mean accuracy", f"{mean:.1f} %", f"{mean - 1:.1f} to {mean + 1:.1f}")
    assert [name for name, *_ in one.metrics] == ["Mean accuracy", "Worst-case accuracy", "Consistency",
                                                  "Centered accuracy"]
    accuracy = audits[0].accuracy_map
    low, high = np.floor(20 * accuracy.min()) / 20, np.ceil(20 * accuracy.max()) / 20
    expected = colormaps["cividis"]((accuracy - low) / (high - low))[..., :3]
    assert np.abs(read(one.map) / 255 - expected).max() < 0.01
    assert one.extremes == f"{100 * accuracy.min():.0f} % to {100 * accuracy.max():.0f} %"


def test_seeds_share_a_card_and_their_spread_replaces_the_interval(make_audit):
    seeds = [dataclasses.replace(make_audit(), mean_accuracy=value) for value in (0.4, 0.6)]
    (card,) = summary_cards(seeds)
    assert card.metrics[0] == ("Mean accuracy", "50.0 %", "± 14.1") and card.details.endswith("2 seeds")


def test_placements_that_were_not_computed_are_gray(make_audit):
    (card,) = summary_cards([make_audit(computed=np.arange(30))])
    gray = (read(card.map) == (0xe3, 0xe6, 0xea)).all(axis=-1)
    assert np.array_equal(gray.ravel(), np.arange(35) >= 30)


def test_without_audits_the_cards_show_evaluations(make_evaluation):
    (card,) = summary_cards([], [], [make_evaluation(), make_evaluation(split="train", trained="centered")])
    assert card.metrics == [("Accuracy, random placements", "66.7 %", ""), ("Accuracy, centered", "100.0 %", "")]
    assert card.map == "" and summary_cards([], [], [make_evaluation(split="train")]) == []
