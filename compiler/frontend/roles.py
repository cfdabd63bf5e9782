"""Turn a request (batch, tokens, cached tokens) into numbers for a model's own dimension names.

In:  ModelInfo of a language model.   Out: `dims` for load_model, and the role of every dimension.
Raises: DimError where one dimension would need two numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from athena.errors import DimError, printable
from compiler.frontend.dims import resolve, symbols
from compiler.frontend.inspect import ModelInfo, PortInfo

_TOKEN_INPUTS = ("input_ids", "position_ids", "token_type_ids", "inputs_embeds", "segment_ids")
_MASK_INPUTS = ("attention_mask", "input_mask")


def bind_roles(info: ModelInfo, *, batch: int, tokens: int, cached: int = 0) -> dict[str, int]:
    """Numbers for the symbolic dimensions of token, mask and cache inputs.

    Token inputs are [batch, tokens, …], masks [batch, …, cached + tokens], caches
    [batch, heads, cached, size] or [2, batch, heads, cached, size]. Other dimensions stay unbound.
    """
    dims: dict[str, int] = {}
    composed: list[tuple[str, int]] = []
    for text, number in _wanted(info, batch, tokens, cached):
        if symbols(text) != (text,):
            composed.append((text, number))
        elif dims.setdefault(text, number) != number:
            raise DimError(
                f"dimension '{printable(text)}' would be {dims[text]} and {number}",
                where=info.file,
                hint=f"bind it yourself, for example --dim {printable(text)}={number}",
            )
    for text, number in composed:
        if resolve(text, dims) != number:
            dims[text] = number
    return dims


def _wanted(info: ModelInfo, batch: int, tokens: int, cached: int) -> Iterator[tuple[str, int]]:
    pasts = {pair.past for pair in info.cache_pairs}
    for port in info.inputs:
        if port.name in pasts:
            numbers = {-2: cached, 0 if len(port.dims) < 5 else 1: batch}
        elif port.name in _TOKEN_INPUTS:
            numbers = {0: batch, 1: tokens}
        elif port.name in _MASK_INPUTS:
            numbers = {0: batch, -1: cached + tokens}
            if len(port.dims) == 4:
                numbers[-2] = tokens
        else:
            numbers = {}
        yield from _symbolic(port, numbers)


def _symbolic(port: PortInfo, numbers: dict[int, int]) -> Iterator[tuple[str, int]]:
    for axis, number in numbers.items():
        if -len(port.dims) <= axis < len(port.dims):
            dim = port.dims[axis]
            if isinstance(dim, str):
                yield dim, number
