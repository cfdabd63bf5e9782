"""Numba: the decorator of functions that only other compiled functions call."""

# mypy: ignore-errors

from __future__ import annotations

from numba import njit, types


def inner(function):
    """Compile when first called from compiled code, without wrappers for Python, and once for all
    constants.

    Numba specialises a callee for every literal integer among its arguments (a fault code, an
    operand's number), which here multiplies the time of the first run by three; taking the
    literals' types instead is what explicit signatures would do, but those compile on import.
    """
    compiled = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    template = compiled.get_call_template

    def plain(args, kws):
        return template(
            tuple(types.unliteral(a) for a in args), {k: types.unliteral(v) for k, v in kws.items()}
        )

    compiled.get_call_template = plain
    return compiled
