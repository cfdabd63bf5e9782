"""Print figures with a stated number of significant figures, rounding half to even.

In:  integers or floats, and how many figures. Out: text such as "5.13x10^17" or "0.0451".
Raises: ValueError for a count below one or a value that is not finite (a defect of the caller).

Rounding works on the decimal value, so that an integer of any size is exact, and the power of ten
is taken after rounding: 9.996e22 with three figures is 1.00x10^23.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal


def significant(value: float, figures: int) -> Decimal:
    """The value rounded to `figures` significant figures."""
    if figures < 1 or not math.isfinite(value):
        raise ValueError(f"cannot round {value} to {figures} figures")
    number = Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))
    return Context(prec=figures, rounding=ROUND_HALF_EVEN).plus(number)


def scientific(value: float, figures: int) -> str:
    """Text in the form's notation: 5.13x10^17; "0" for zero."""
    number = significant(value, figures)
    if number == 0:
        return "0"
    exponent = number.adjusted()
    mantissa = number.scaleb(-exponent)
    return f"{mantissa:.{figures - 1}f}x10^{exponent}"


def plain(value: float, figures: int = 3) -> str:
    """Text for tables: positional from 0.001 to below a million, else as 1.23e-5."""
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    number = significant(value, figures)
    if number == 0:
        return "0"
    exponent = number.adjusted()
    if not -4 < exponent < 6:
        return f"{number.scaleb(-exponent):.{figures - 1}f}e{exponent}"
    places = max(0, figures - 1 - exponent)
    return f"{number:.{places}f}"
