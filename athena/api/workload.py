"""What one execution of a program works on: sequences, tokens, cache, from its tensors alone.

In:  a Program. Out: `Workload`.   Raises: nothing.

A program with a cache (an input past… and its output present…) is a decode step where it takes
one token a sequence behind a filled cache, else a prefill. Without a cache it is one forward pass,
whose rate is given in input tokens.
"""

from __future__ import annotations

from athena.isa.program import Program, Tensor
from athena.report import Phase, Workload
from compiler.frontend.inspect import cache_pairs

TOKEN_INPUTS = ("input_ids", "inputs_embeds", "tokens", "input")


def workload_of(program: Program) -> Workload:
    """The workload of one execution."""
    inputs = {t.name: t for t in program.tensors if t.role in ("input", "kv")}
    outputs = [t.name for t in program.tensors if t.role == "output"]
    token = next((inputs[name] for name in TOKEN_INPUTS if name in inputs), None)
    if token is None or len(token.shape) < 2:
        return Workload(task="one execution")
    batch, tokens = token.shape[0], token.shape[1]
    pairs = cache_pairs(tuple(inputs), outputs)
    if not pairs:
        return Workload(
            task=f"forward pass of {_sequences(batch)} of {tokens} tokens",
            batch=max(1, batch),
            input_tokens=batch * tokens,
        )
    cached = _cached(inputs[pairs[0].past])
    decode = tokens == 1 and cached > 0
    return Workload(
        task=f"decode step of {_sequences(batch)} behind {cached} cached tokens"
        if decode
        else f"prefill of {_sequences(batch)} of {tokens} tokens"
        + (f" behind {cached} cached" if cached else ""),
        phase=Phase.DECODE if decode else Phase.PREFILL,
        batch=max(1, batch),
        input_tokens=batch * tokens,
        output_tokens=batch,
        context_tokens=cached,
    )


def _cached(past: Tensor) -> int:
    return past.shape[-2] if len(past.shape) >= 3 else 0


def _sequences(count: int) -> str:
    return "1 sequence" if count == 1 else f"{count} sequences"
