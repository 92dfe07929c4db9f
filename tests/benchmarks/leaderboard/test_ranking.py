"""Rows from records: order, spread, tests between neighboring rows, bold, chance."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from leaderboard.ranking import board, chance_rows, largest_p_value

P = 4


def many(correct: int, incorrect: int, half: int = 0):
    """Return counts of images that are correct at all placements, at none, and at half of them."""
    return [P] * correct + [0] * incorrect + [P // 2] * half


def rows_by_entry(*records):
    return {row.entry: row for row in board(records).rows}


def test_rows_are_ordered_by_worst_case_then_mean(make_record):
    result = board([make_record("two-full", counts=many(30, 70)), make_record("two-conv", counts=many(30, 60, 10)),
                   make_record("recentered-quick", counts=many(50, 50))])
    assert [row.entry for row in result.rows] == ["recentered-quick", "two-conv", "two-full", "chance-constant",
                                                 "chance-guess"]


def test_mean_and_standard_deviation_over_seeds_and_interval_over_images(make_record):
    counts = [many(30, 70), many(50, 50)]
    intervals = [dict.fromkeys(make_record().intervals, ends) for ends in ([0.2, 0.6], [0.3, 0.9])]
    row = rows_by_entry(*(make_record(seed=seed, counts=c, intervals=i) for seed, (c, i) in enumerate(
        zip(counts, intervals, strict=True))))["two-full"]
    estimate = row.estimates["worst_case_accuracy"]
    assert estimate.mean == pytest.approx(0.4) and estimate.std == pytest.approx(np.std([0.3, 0.5], ddof=1))
    assert estimate.interval == (0.25, 0.75)  # the mean of the seeds' own
    assert row.estimates["consistency"].std == 0
    assert row.train_seconds == (pytest.approx(2.5), pytest.approx(math.sqrt(0.5))) and row.seeds == 2
    assert row.seed_values == [(0.3, 0.3), (0.5, 0.5)] and (row.flips, row.predictions) == (6, 800)


def test_one_seed_shows_the_interval_of_its_audit(make_record):
    row = rows_by_entry(make_record())["two-full"]
    assert all(estimate.interval == (0.125, 0.875) and estimate.std is None for estimate in row.estimates.values())


def test_the_test_between_neighbors_is_mcnemars_on_the_same_images(make_record):
    a, b = make_record("two-conv", counts=many(60, 40)), make_record("two-full", counts=[0] * 10 + many(40, 50))
    only_a = sum(x == P and y != P for x, y in zip(a.correct_counts, b.correct_counts, strict=True))
    only_b = sum(y == P and x != P for x, y in zip(a.correct_counts, b.correct_counts, strict=True))
    expected = binomtest(only_a, only_a + only_b).pvalue
    rows = rows_by_entry(a, b)
    assert only_a == 20 and rows["two-conv"].p_values["worst_case_accuracy"] == pytest.approx(expected)
    assert rows["two-conv"].p_values["mean_accuracy"] < 0.05
    assert rows["two-full"].p_values == rows["chance-guess"].p_values == {}  # no measured row below


def test_rows_of_chance_are_skipped_in_the_tests(make_record):
    a = make_record("two-conv", counts=many(60, 40), classes=2)
    b = make_record("two-full", counts=many(20, 80), classes=2)
    rows = board([a, b]).rows
    assert [row.entry for row in rows] == ["two-conv", "chance-constant", "two-full", "chance-guess"]
    assert rows[0].p_values["worst_case_accuracy"] < 1e-6 and rows[1].p_values == {}


def test_all_seeds_must_agree(make_record):
    better, worse = many(60, 40), many(40, 60)
    a = [make_record("two-conv", seed=seed, counts=c) for seed, c in enumerate((better, better))]
    b = [make_record("two-full", seed=seed, counts=c) for seed, c in enumerate((worse, many(55, 45)))]
    values = [largest_p_value(a[s:s + 1], b[s:s + 1], "worst_case_accuracy") for s in (0, 1)]
    assert values[0] < 1e-4 < values[1] == pytest.approx(2 / 2**5)
    assert largest_p_value(a, b, "worst_case_accuracy") == values[1]  # the largest
    reversed_order = [b[0], make_record("two-full", seed=1, counts=many(70, 30))]
    assert largest_p_value(a, reversed_order, "worst_case_accuracy") == 1.0
    assert largest_p_value(a[:1], b[1:], "worst_case_accuracy") is None  # no seed in common


def test_only_a_value_significantly_better_than_the_second_best_is_bold(make_record):
    best = make_record("two-conv", counts=many(60, 40))
    assert rows_by_entry(best, make_record("two-full", counts=many(40, 60)))["two-conv"].bold == (
        "worst_case_accuracy", "mean_accuracy")
    close = rows_by_entry(best, make_record("two-full", counts=many(58, 42)))
    assert all(row.bold == () for row in close.values())
    alone = rows_by_entry(best)  # chance only: no test
    assert all(row.bold == () for row in alone.values())


def test_mean_and_worst_case_may_have_different_best_entries(make_record):
    rows = rows_by_entry(make_record("two-conv", counts=many(50, 50)), make_record("two-full", counts=many(20, 0, 80)))
    assert rows["two-conv"].bold == ("worst_case_accuracy",) and rows["two-full"].bold == ("mean_accuracy",)


def test_chance_equals_a_loop_over_all_predictions(make_record):
    K, placements = 3, 4
    guesses = np.array(list(itertools.product(range(K), repeat=placements)))  # equally likely; the label is 0
    counts = np.stack([(guesses == k).sum(1) for k in range(K)], 1)
    naive = {"mean_accuracy": (guesses == 0).mean(), "worst_case_accuracy": (guesses == 0).all(1).mean(),
             "middle_accuracy": (guesses[:, 2] == 0).mean(), "unanimity": (counts.max(1) == placements).mean(),
             "consistency": ((counts / placements) ** 2).sum(1).mean()}
    constant, guess = chance_rows([make_record(classes=K, placements=placements)])
    assert {name: estimate.mean for name, estimate in guess.estimates.items()} == pytest.approx(naive)
    assert {name: estimate.mean for name, estimate in constant.estimates.items()} == pytest.approx(
        dict.fromkeys(naive, 1 / K) | {"consistency": 1, "unanimity": 1})
    assert chance_rows([]) == []
