"""Write a traced execution as a file that Perfetto and chrome://tracing open.

In:  a `Timeline` with its trace, the `Program`, a path. Out: one JSON file in the Trace Event
     Format, written whole or not at all.
Raises: UsageError without a trace or above the limit of words, OutputError if the path cannot be
     written.

One process for each core, cluster and the host, one thread for each queue, one complete event
("ph": "X") for each word. Times are in microseconds of chip time. Source: "Trace Event Format",
Google (the JSON format that Perfetto imports).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from athena.errors import OutputError, UsageError, printable
from athena.isa.fields import OP, Op, decode
from athena.isa.program import Program
from athena.timing.result import Timeline

EVENTS_LIMIT = 5_000_000
_NAMES = {int(op): op.name for op in Op}


def write_trace(timeline: Timeline, program: Program, path: str | Path) -> None:
    """Write `timeline.trace` to `path`; names of nodes are escaped for terminals and browsers."""
    where = printable(path)
    if timeline.trace is None:
        raise UsageError(
            "the execution was not traced", where=where, hint="simulate with trace=True"
        )
    if len(timeline.trace) > EVENTS_LIMIT:
        raise UsageError(
            f"the trace has {len(timeline.trace)} words; at most {EVENTS_LIMIT} are written",
            where=where,
            hint="trace a smaller program",
        )
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name[:32]}.", suffix=".tmp"
        )
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot be written: {printable(error)}", where=where) from None
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            _write(file, timeline, program)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except OSError as error:
        raise OutputError(f"cannot be written: {printable(error)}", where=where) from None
    finally:
        Path(name).unlink(missing_ok=True)


def _write(file: IO[str], timeline: Timeline, program: Program) -> None:
    file.write('{"displayTimeUnit": "ns", "traceEvents": [\n')
    separator = ""
    for event in _events(timeline, program):
        file.write(separator + json.dumps(event))
        separator = ",\n"
    file.write("\n]}\n")


def _events(timeline: Timeline, program: Program) -> Iterator[dict[str, Any]]:
    """Names of processes and threads, then the words in order of issue."""
    if timeline.trace is None:
        return
    units = list(dict.fromkeys(name.rpartition(".")[0] for name in timeline.queue_names))
    process = {unit: number for number, unit in enumerate(units, 1)}
    places = []
    used = set(timeline.trace[:, 0].tolist())
    for queue, name in enumerate(timeline.queue_names):
        unit, _, kind = name.rpartition(".")
        places.append({"pid": process[unit], "tid": queue + 1})
        if queue in used:
            yield {
                "ph": "M",
                "name": "process_name",
                **places[queue],
                "args": {"name": unit or "host"},
            }
            yield {"ph": "M", "name": "thread_name", **places[queue], "args": {"name": kind}}
    ops = [decode(stream.words)[:, OP].tolist() for stream in program.streams]
    nodes = [f"{printable(node.name)} ({printable(node.op)})" for node in program.nodes]
    per_us = timeline.clock_hz * 1e-6
    for queue, index, pc, issue, complete, node, stream in timeline.trace.tolist():
        yield {
            "ph": "X",
            "name": _NAMES.get(ops[stream][pc], "?"),
            "cat": nodes[node] if 0 <= node < len(nodes) else "",
            **places[queue],
            "ts": issue / per_us,
            "dur": (complete - issue) / per_us,
            "args": {"index": index, "pc": pc, "issue_cycle": issue, "complete_cycle": complete},
        }
