"""A timeline's words as a trace that Perfetto and Chrome show.

In:  a Program and its Timeline with a trace. Out: bytes of JSON (Trace Event Format).
Raises: nothing.

One thread a queue, one complete event an executed word; times are microseconds of simulated time.
"""

from __future__ import annotations

import json

from athena.errors import printable
from athena.isa.fields import Op
from athena.isa.program import Program
from athena.timing import Timeline

QUEUE, _INDEX, PC, ISSUE, COMPLETE, NODE, STREAM = range(7)


def perfetto(program: Program, timeline: Timeline) -> bytes:
    """The trace; equal timelines give equal bytes."""
    us = 1e6 / timeline.clock_hz
    ops = [[_name(int(code)) for code in stream.words["op"]] for stream in program.streams]
    names = [printable(node.name) for node in program.nodes]
    events = [
        json.dumps({"ph": "M", "name": "thread_name", "pid": 0, "tid": i, "args": {"name": queue}})
        for i, queue in enumerate(timeline.queue_names)
    ]
    rows = () if timeline.trace is None else timeline.trace.tolist()
    for row in rows:
        op = ops[row[STREAM]][row[PC]]
        event = {
            "ph": "X",
            "name": names[row[NODE]] if row[NODE] >= 0 else op,
            "cat": op,
            "pid": 0,
            "tid": row[QUEUE],
            "ts": round(row[ISSUE] * us, 6),
            "dur": round((row[COMPLETE] - row[ISSUE]) * us, 6),
        }
        events.append(json.dumps(event))
    head = '{"displayTimeUnit": "ns", "traceEvents": [\n'
    return (head + ",\n".join(events) + "\n]}\n").encode()


def _name(code: int) -> str:
    return Op(code).name if code in set(Op) else f"op {code}"
