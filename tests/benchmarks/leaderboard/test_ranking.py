"""From records to rows: order, spread, tests between neighbors, bold, chance."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from leaderboard.ranking import board, chance_rows, sure_of

P = 4


def many(right: int, wrong: int, half: int = 0):
    """Counts of images right everywhere, nowhere, and at half of the placements."""
    return [P] * right + [0] * wrong + [P // 2] * half


def rows_of(*records):
    return {row.entry: row for row in board(records).rows}


def test_rows_are_ordered_by_worst_case_then_mean(made):
    found = board([made("two-full", counts=many(30, 70)), made("two-conv", counts=many(30, 60, 10)),
                   made("recentered-quick", counts=many(50, 50))])
    assert [row.entry for row in found.rows] == ["recentered-quick", "two-conv", "two-full", "chance-constant",
                                                 "chance-guess"]


def test_mean_and_sample_deviation_over_seeds_and_the_interval_over_images(made):
    counts = [many(30, 70), many(50, 50)]
    intervals = [dict.fromkeys(made().intervals, ends) for ends in ([0.2, 0.6], [0.3, 0.9])]
    row = rows_of(*(made(seed=seed, counts=c, intervals=i) for seed, (c, i) in enumerate(
        zip(counts, intervals, strict=True))))["two-full"]
    share = row.shares["worst_case_accuracy"]
    assert share.mean == pytest.approx(0.4) and share.std == pytest.approx(np.std([0.3, 0.5], ddof=1))
    assert share.interval == (0.25, 0.75)  # the mean of the seeds' own
    assert row.shares["consistency"].std == 0
    assert row.train_seconds == (pytest.approx(2.5), pytest.approx(math.sqrt(0.5))) and row.seeds == 2
    assert row.each == [(0.3, 0.3), (0.5, 0.5)] and (row.flips, row.predictions) == (6, 800)


def test_one_seed_shows_the_interval_of_its_audit(made):
    row = rows_of(made())["two-full"]
    assert all(share.interval == (0.125, 0.875) and share.std is None for share in row.shares.values())


def test_the_test_between_neighbors_is_mcnemars_on_the_same_images(made):
    a, b = made("two-conv", counts=many(60, 40)), made("two-full", counts=[0] * 10 + many(40, 50))
    only_a = sum(x == P and y != P for x, y in zip(a.correct_counts, b.correct_counts, strict=True))
    only_b = sum(y == P and x != P for x, y in zip(a.correct_counts, b.correct_counts, strict=True))
    expected = binomtest(only_a, only_a + only_b).pvalue
    rows = rows_of(a, b)
    assert only_a == 20 and rows["two-conv"].below["worst_case_accuracy"] == pytest.approx(expected)
    assert rows["two-conv"].below["mean_accuracy"] < 0.05
    assert rows["two-full"].below == rows["chance-guess"].below == {}  # nothing measured below


def test_chance_between_two_rows_is_passed_over(made):
    a, b = made("two-conv", counts=many(60, 40), classes=2), made("two-full", counts=many(20, 80), classes=2)
    found = board([a, b]).rows
    assert [row.entry for row in found] == ["two-conv", "chance-constant", "two-full", "chance-guess"]
    assert found[0].below["worst_case_accuracy"] < 1e-6 and found[1].below == {}


def test_all_seeds_must_agree(made):
    better, worse = many(60, 40), many(40, 60)
    a = [made("two-conv", seed=seed, counts=c) for seed, c in enumerate((better, better))]
    b = [made("two-full", seed=seed, counts=c) for seed, c in enumerate((worse, many(55, 45)))]
    values = [sure_of(a[s:s + 1], b[s:s + 1], "worst_case_accuracy") for s in (0, 1)]
    assert values[0] < 1e-4 < values[1] == pytest.approx(2 / 2**5)
    assert sure_of(a, b, "worst_case_accuracy") == values[1]  # the largest
    turned = [b[0], made("two-full", seed=1, counts=many(70, 30))]
    assert sure_of(a, turned, "worst_case_accuracy") == 1.0
    assert sure_of(a[:1], b[1:], "worst_case_accuracy") is None  # no seed in common


def test_bold_is_only_what_surely_beats_the_second_best(made):
    best = made("two-conv", counts=many(60, 40))
    assert rows_of(best, made("two-full", counts=many(40, 60)))["two-conv"].bold == (
        "worst_case_accuracy", "mean_accuracy")
    close = rows_of(best, made("two-full", counts=many(58, 42)))
    assert all(row.bold == () for row in close.values())
    alone = rows_of(best)  # nothing to be compared with but chance
    assert all(row.bold == () for row in alone.values())


def test_the_best_mean_may_be_another_one_than_the_best_worst_case(made):
    rows = rows_of(made("two-conv", counts=many(50, 50)), made("two-full", counts=many(20, 0, 80)))
    assert rows["two-conv"].bold == ("worst_case_accuracy",) and rows["two-full"].bold == ("mean_accuracy",)


def test_chance_is_what_a_loop_over_all_answers_gives(made):
    K, placements = 3, 4
    guesses = np.array(list(itertools.product(range(K), repeat=placements)))  # equally likely; the label is 0
    counts = np.stack([(guesses == k).sum(1) for k in range(K)], 1)
    naive = {"mean_accuracy": (guesses == 0).mean(), "worst_case_accuracy": (guesses == 0).all(1).mean(),
             "middle_accuracy": (guesses[:, 2] == 0).mean(), "unanimity": (counts.max(1) == placements).mean(),
             "consistency": ((counts / placements) ** 2).sum(1).mean()}
    constant, guess = chance_rows([made(classes=K, placements=placements)])
    assert {name: share.mean for name, share in guess.shares.items()} == pytest.approx(naive)
    assert {name: share.mean for name, share in constant.shares.items()} == pytest.approx(
        dict.fromkeys(naive, 1 / K) | {"consistency": 1, "unanimity": 1})
    assert chance_rows([]) == []
