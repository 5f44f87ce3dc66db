"""Numbers as words: right, and never more than is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.report.digits import bounds, certified, interval, number, percent

FINITE = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (0.05, 3, "0.05"),
        (9.96e-5, 2, "0.0001"),
        (123456.0, 2, "120000"),
        (999999.9, 3, "1 × 10⁶"),
        (-1.5, 3, "−1.5"),
        (2.5e-7, 3, "2.5 × 10⁻⁷"),
        (math.inf, 3, "∞"),
        (math.nan, 3, "not a number"),
    ],
)
def test_number_known_cases(value: float, digits: int, text: str) -> None:
    assert number(value, digits) == text


def _parse(text: str) -> float:
    superscripts = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
    mantissa, _, power = text.replace("−", "-").partition(" × 10")
    return float(f"{mantissa}e{power.translate(superscripts) or 0}")


@given(FINITE)
def test_number_keeps_its_digits(value: float) -> None:
    assert _parse(number(value, 4)) == pytest.approx(value, rel=5.1e-4, abs=0.0)


@given(FINITE, FINITE)
def test_bounds_are_rounded_outwards(first: float, second: float) -> None:
    lower, upper = min(first, second), max(first, second)
    written_lower, written_upper = (_parse(text) for text in bounds(lower, upper))
    slack = 1e-15 * max(abs(lower), abs(upper))  # of reading the text back, not of the text
    assert written_lower <= lower + slack
    assert written_upper >= upper - slack


def test_interval_with_one_side_unknown() -> None:
    assert interval(0.5, math.inf) == "at least 0.5"
    assert interval(-math.inf, 0.5) == "at most 0.5"


@given(st.floats(0.1, 10.0), st.floats(1e-9, 0.004))
def test_certified_digits_lie_within_one_unit_of_both_bounds(lower: float, gap: float) -> None:
    text = certified(lower, lower + gap)
    assert text is not None
    unit = (1.0 + 1e-9) * 10.0 ** -len(text.partition(".")[2])  # but for rounding
    assert abs(_parse(text) - lower) <= unit
    assert abs(_parse(text) - lower - gap) <= unit


def test_certified_says_nothing_where_bounds_say_nothing() -> None:
    assert certified(1.0, 1.5) is None
    assert certified(0.5, math.inf) is None
    assert certified(-0.1, 0.1) is None


def test_percent() -> None:
    assert percent(0.5) == "50 %"
    assert percent(0.0) == "0 %"
