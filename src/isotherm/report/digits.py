"""Numbers as a person would write them, with no digit that is not known."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_DIGITS = 6  # significant digits shown even where bounds agree to more
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
MINUS = "\u2212"


def number(value: float, digits: int = 3) -> str:
    """A number in a few significant digits, without trailing zeros and without computer notation.

    Args:
        value: Any float; NaN and infinities have a sign of their own.
        digits: Significant digits.

    Returns:
        Text, with a true minus sign.

    Example:
        >>> number(0.05), number(1234.56, 5), number(2.5e-7), number(float("inf"))
        ('0.05', '1234.6', '2.5 × 10⁻⁷', '∞')
    """
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if value == 0:
        return "0"
    value = float(f"{value:.{digits - 1}e}")  # rounding may carry into the next power of ten
    shift = _shift((value,))
    scaled = value / 10.0 ** (shift // 2) / 10.0 ** (shift - shift // 2)  # in two steps: 10^-324 is zero
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))) + shift)
    text = f"{scaled:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS) + _power(shift)


def percent(share: float) -> str:
    """A share as a percentage in two significant digits.

    Args:
        share: 1 is all of it.

    Returns:
        Text with a percent sign.

    Example:
        >>> percent(0.0512), percent(3e-8)
        ('5.1 %', 'less than 0.001 %')
    """
    if 0 < share < 1e-5:
        return "less than 0.001 %"
    return f"{number(100.0 * share, 2)} %"


def bounds(lower: float, upper: float) -> tuple[str, str]:
    """Two bounds, rounded outwards to two digits of their distance at most: what is written still holds.

    Args:
        lower: Lower bound, may be -inf.
        upper: Upper bound, may be +inf. Where rounding put it below the lower one, the two are swapped.

    Returns:
        The two texts.

    Example:
        >>> bounds(0.7412349, 0.7413122)
        ('0.741234', '0.741313')
    """
    lower, upper = min(lower, upper), max(lower, upper)
    finite = [bound for bound in (lower, upper) if math.isfinite(bound)]
    if len(finite) < 2:
        return number(lower, MAX_DIGITS), number(upper, MAX_DIGITS)
    shift = _shift(finite)
    decimals = _decimals(upper - lower, max(abs(lower), abs(upper)), shift, _two_digits)
    unit = Decimal(1).scaleb(-decimals)
    written = [
        Decimal(bound).scaleb(-shift).quantize(unit, rounding=rounding)
        for bound, rounding in ((lower, ROUND_FLOOR), (upper, ROUND_CEILING))
    ]
    first, second = (f"{value:f}".replace("-", MINUS) + _power(shift) for value in written)
    return first, second


def interval(lower: float, upper: float) -> str:
    """Two bounds as a phrase.

    Args:
        lower: Lower bound, may be -inf.
        upper: Upper bound, may be +inf.

    Returns:
        One number where both bounds are written alike.

    Example:
        >>> interval(0.7412349, 0.7413122), interval(0.5, 0.5), interval(0.5, float("inf"))
        ('0.741234 to 0.741313', '0.500000', 'at least 0.5')
    """
    first, second = bounds(lower, upper)
    if math.isinf(upper) or math.isinf(lower):
        return f"at least {first}" if math.isfinite(lower) else f"at most {second}"
    return first if first == second else f"{first} to {second}"


def certified(lower: float, upper: float) -> str | None:
    """The middle of two bounds in only those digits that they support; None where they support none.

    Args:
        lower: Lower bound, may be -inf.
        upper: Upper bound, may be +inf.

    Returns:
        A number whose last digit is uncertain by at most one, or None.

    Example:
        >>> certified(0.7412349, 0.7413122), certified(-0.1, 0.3)
        ('0.7413', None)
    """
    middle, gap = 0.5 * (lower + upper), abs(upper - lower)
    if not math.isfinite(middle) or not math.isfinite(gap) or gap > 0.05 * abs(middle):
        return "0" if lower == upper == 0 else None
    shift = _shift((middle,))
    decimals = _decimals(gap, abs(middle), shift, math.floor)
    return f"{middle / 10.0**shift:.{decimals}f}".replace("-", MINUS) + _power(shift)


def _two_digits(power: float) -> int:
    return math.ceil(power) + 1


def _decimals(gap: float, size: float, shift: int, rounded: Callable[[float], int]) -> int:
    """Decimals that resolve a gap between numbers of some size, once those are divided by 10^shift."""
    most = MAX_DIGITS - 1 - math.floor(math.log10(size)) if size > 0 else 0
    wanted = rounded(-math.log10(gap)) if gap > 0 else most
    return max(0, min(wanted, most) + shift)


def _shift(values: Sequence[float]) -> int:
    """Power of ten to factor out, so that the largest number reads without long rows of zeros."""
    size = max(abs(value) for value in values)
    exponent = math.floor(math.log10(size)) if size > 0 else 0
    return 0 if -4 <= exponent < 6 else exponent


def _power(shift: int) -> str:
    return f" × 10{str(shift).translate(SUPERSCRIPTS)}" if shift else ""
