import pytest

from bench.record import Bench, compare, fitted_exponent, growth_line, is_busy
from shiftscope.errors import CheckpointError

WHAT = {"ours": "a", "notebook": "b", "bare": "c"}


def test_ratios_are_medians_of_the_ratios_within_rounds():
    """In the third round the machine was ten times as slow, for both: the ratio of the medians would be 6.5."""
    found = compare("net", "s", WHAT, {"ours": [1.0, 2.0, 10.0, 4.0], "notebook": [4.0, 9.0, 41.0, 17.0]})
    assert found["ratios"] == {"notebook": pytest.approx((4.1 + 4.25) / 2)}
    assert [one["median"] for one in found["contestants"]] == [3.0, 13.0]
    assert [one["what"] for one in found["contestants"]] == ["a", "b"] and found["figures"] == {}


def test_rounds_must_be_complete():
    with pytest.raises(ValueError):
        compare("net", "s", WHAT, {"ours": [1.0, 2.0], "bare": [1.0]})


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_fitted(power):
    values = [3, 10, 20, 80]
    assert fitted_exponent(values, [0.7 * value ** power for value in values]) == pytest.approx(power, abs=1e-12)


def test_the_exponent_is_that_of_least_squares():
    """log-log points (0, 0), (1, 2), (2, 1) in powers of ten have the slope 1/2."""
    assert fitted_exponent([1, 10, 100], [1.0, 100.0, 10.0]) == pytest.approx(0.5)


@pytest.mark.parametrize("values, seconds", [([], []), ([5], [1.0]), ([5, 5], [1.0, 2.0]), ([0, 5], [1.0, 2.0])])
def test_one_size_has_no_exponent(values, seconds):
    assert fitted_exponent(values, seconds) is None


def test_growth_uses_medians_and_fits_the_end_separately():
    """A start of 100 s and 1 s an image: nearly constant at first, nearly linear at the end."""
    line = growth_line("net", "images", "s", [1, 10, 1000, 100000],
                       [[101.0, 0.0, 999.0], [110.0] * 3, [1100.0] * 3, [100100.0] * 3])
    assert line["medians"] == [101.0, 110.0, 1100.0, 100100.0] and line["seconds"][0] == [101.0, 0.0, 999.0]
    assert line["exponent"] < 0.8 and 0.95 < line["exponent_end"] < 1


@pytest.mark.parametrize("before, during, busy", [(0.0, 0.05, False), (0.051, 0.0, True), (0.0, 0.2, True),
                                                  (None, None, False), (None, 0.5, True), (0.4, None, True)])
def test_a_record_is_flagged_above_five_percent(before, during, busy):
    assert is_busy({"before": before, "during": during, "source": "x"}) is busy


def test_a_record_is_read_unchanged(tmp_path):
    bench = Bench(bench="data", measured="2026-01-02T03:04:05+00:00", dataset="garments", synthetic=True, repeats=2,
                  settings={"steps": 3}, machine={"cores": 2}, notes=["n"], busy=False,
                  comparisons=[compare("net", "s", WHAT, {"ours": [1.0, 2.0], "bare": [3.0, 4.0]}, {"steps": 3})],
                  growth=[growth_line("net", "images", "s", [1, 2], [[1.0], [2.0]])],
                  others={"before": 0.01, "during": None, "source": "x"})
    bench.save(tmp_path)
    assert Bench.load(tmp_path) == bench
    with pytest.raises(CheckpointError, match="busy"):
        Bench.from_dict({key: value for key, value in bench.to_dict().items() if key != "busy"})
