"""The machine: a program's words on memory images; the definition of the chip's arithmetic.

In:  Program, Chip, named input arrays. Out: named output arrays; raw memories for tests.
Raises: InputError for inputs that do not fit, FaultError, DeadlockError, RuntimeLimitError while
running.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from athena.chip import Chip
from athena.errors import InputError, ProgramError, RuntimeLimitError, printable
from athena.functional import access_kernel as k
from athena.functional import interpreter_kernel as loop
from athena.functional.compiled import interpreter
from athena.functional.images import L1_FIRST, Images, tensors_of
from athena.functional.matmul_kernel import scratch_bytes
from athena.functional.messages import deadlock_error, fault_error, place_of
from athena.functional.state import QueueId, build_tables, fresh_states, launch_scalars
from athena.functional.trace_kernel import TRACE_COLUMNS, crc_table
from athena.functional.vec_kernel import buffer_bytes
from athena.isa.fields import Seg
from athena.isa.program import Bytes, HostCall, Program
from athena.isa.tables import coefficients

Ints = NDArray[np.int64]
Host = Callable[[HostCall, dict[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
TRACE_ROWS = 1 << 14
_LINE_BYTES = 64  # alignment of scratch memory
PAUSE_WORK = 1 << 31  # elements, bytes or MACs between two looks at the keyboard


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Caps of one run: words retired, and work in bytes, elements and MACs; None = no cap."""

    words: int | None = None
    work: int | None = None


@dataclass(slots=True, eq=False)
class _Run:
    """What changes while a program runs."""

    states: Ints
    bases: Ints
    scalars: Ints
    sems: Ints
    limits: Ints
    parked: Ints
    trace: Ints
    trace_count: Ints
    fault: Ints
    kept: list[Ints] = field(default_factory=list)


class Machine:
    """A program loaded on a chip. Memory keeps its contents between runs (a KV cache grows);
    semaphores start anew.

    `profile` "table" uses the chip's look-up tables, "exact" library functions; by default a
    program of precision fp32 is exact.
    """

    def __init__(
        self, program: Program, chip: Chip, *, profile: Literal["table", "exact"] | None = None
    ) -> None:
        self.program = program
        self.chip = chip
        self._images = Images(program, chip)
        self._tensors = tensors_of(program)
        self._tables = build_tables(program, chip, self._images)
        exact = (profile or ("exact" if program.precision == "fp32" else "table")) == "exact"
        core = chip.core
        shape = (
            chip.cores,
            chip.clusters,
            core.matrix.rows,
            core.vector.lanes,
            int(exact),
            self._images.l2_first,
        )
        room = _round_up(scratch_bytes(core.matrix.rows))
        self._scratch = np.empty(room + buffer_bytes(core.vector.lanes) + _LINE_BYTES, np.uint8)
        scratch = _round_up(self._scratch.ctypes.data)
        self._shape = np.array((*shape, scratch, scratch + room), np.int64)
        self._table = coefficients().copy()
        self._crcs = crc_table()
        self._trace: Ints = np.zeros((0, TRACE_COLUMNS), np.int64)

    @property
    def queues(self) -> tuple[QueueId, ...]:
        """The queues in order; a trace's first column is an index into them."""
        return self._tables.ids

    @property
    def trace(self) -> Ints:
        """Of the last run with `trace=True`: [words, 4] queue, dynamic index, pc, CRC-32.

        The CRC (zlib's) is over the bytes that the word wrote, rows in order: of VEC and VMXQ d,
        then e; of MCAST one slice's; of a scatter in the order of its index; 0 where nothing was
        written.
        """
        return self._trace

    def l1(self, core: int) -> Bytes:
        """The L1 of a logical core; writing to it changes the machine."""
        return self._images.memory(L1_FIRST + core)

    def acc(self, core: int) -> Bytes:
        """The accumulators of a logical core."""
        return self._images.memory(self._images.acc_first + core)

    def l2(self, cluster: int) -> Bytes:
        """The L2 slice of a cluster."""
        return self._images.memory(self._images.l2_first + cluster)

    def segment(self, seg: Seg) -> Bytes:
        """The image of an HBM segment; read-only where it is the program's own constants."""
        return self._images.memory(int(seg))

    def reset(self) -> None:
        """HBM as the program file has it."""
        self._images.reset()

    def read_tensor(self, name: str) -> NDArray[Any]:
        """Any named tensor as an array of its ONNX type. Raises: InputError for an unknown name."""
        if name not in self._tensors:
            raise InputError(
                f"no tensor '{printable(name)}'",
                where=self._where(),
                hint=_nearest(name, self._tensors),
            )
        return self._images.read(self._tensors[name])

    def write_tensor(self, name: str, values: Any) -> None:
        """Store an array as a named tensor. Raises: InputError."""
        if name not in self._tensors:
            raise InputError(
                f"no tensor '{printable(name)}'",
                where=self._where(),
                hint=_nearest(name, self._tensors),
            )
        self._images.write(self._tensors[name], values)

    def run(
        self,
        inputs: Mapping[str, Any],
        *,
        order_seed: int | None = None,
        host: Host | None = None,
        scalars: Mapping[int, int] | None = None,
        limits: Limits | None = None,
        trace: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Write the inputs, run all queues to their end, read the outputs.

        `order_seed` picks a random legal order of the queues, which may not change any result.
        `scalars` are launch scalars {1 … 13: value} instead of the program's. `host` computes a
        CALL from its input arrays by name.
        """
        self._write_inputs(inputs)
        run = self._fresh(order_seed, scalars or {}, limits or Limits(), trace=trace)
        status = self._go(run)
        while status in (k.HOST, k.PAUSE, k.TRACE_FULL):
            if status == k.HOST:
                self._call_host(run, host)
            elif status == k.TRACE_FULL:
                _keep_trace(run)
            status = self._go(run)
        if trace:
            _keep_trace(run)
            self._trace = np.concatenate(run.kept)
        self._raise(status, run)
        return {t.name: self._images.read(t) for t in self.program.tensors if t.role == "output"}

    def _go(self, run: _Run) -> int:
        tables = self._tables
        run.limits[loop.L_PAUSE] = PAUSE_WORK
        written = np.zeros((2, 6), np.int64)
        return int(
            interpreter()(
                tables.words, tables.queues, run.states, run.bases, run.scalars, run.sems,
                self._images.table, self._shape, tables.core_place, tables.run_table,
                tables.run_aregs, tables.section_table, run.limits, run.parked, self._table,
                self._crcs, written, run.trace, run.trace_count, run.fault,
            )
        )  # fmt: skip

    def _fresh(
        self, seed: int | None, scalars: Mapping[int, int], limits: Limits, *, trace: bool
    ) -> _Run:
        tables = self._tables
        count = len(tables.ids)
        return _Run(
            states=fresh_states(tables),
            bases=np.zeros((count, 16), np.int64),
            scalars=launch_scalars(tables, self.program, scalars),
            sems=tables.first_sems.copy(),
            limits=np.array(
                [_cap(limits.words), _cap(limits.work), PAUSE_WORK, _seed(seed), 0], np.int64
            ),
            parked=np.zeros((count, 2), np.int64),
            trace=np.zeros((TRACE_ROWS if trace else 1, TRACE_COLUMNS), np.int64),
            trace_count=np.zeros(1, np.int64),
            fault=np.zeros(8, np.int64),
        )

    def _raise(self, status: int, run: _Run) -> None:
        if status == k.FAULT:
            raise fault_error(self.program, self._tables, run.states, run.fault)
        if status == k.BLOCKED:
            raise deadlock_error(self.program, self._tables, run.states, run.sems)
        if status == k.LIMIT:
            words = int(run.states[:, k.DYN].sum())
            raise RuntimeLimitError(
                f"stopped at the run's cap after {words} words", where=self._where()
            )

    def _write_inputs(self, inputs: Mapping[str, Any]) -> None:
        wanted = {t.name for t in self.program.tensors if t.role == "input"}
        writable = wanted | {t.name for t in self.program.tensors if t.role == "kv"}
        for name in inputs:
            if name not in writable:
                raise InputError(
                    f"no input '{printable(name)}'",
                    where=self._where(),
                    hint=_nearest(name, writable),
                )
        missing = sorted(wanted - set(inputs))
        if missing:
            raise InputError(
                f"input '{printable(missing[0])}' is missing",
                where=self._where(),
                hint=f"give all of {_listed(wanted)}",
            )
        for name, values in inputs.items():
            self._images.write(self._tensors[name], values)

    def _call_host(self, run: _Run, host: Host | None) -> None:
        queue = int(run.fault[6])
        state = run.states[queue]
        number = int(self._tables.words[state[k.START] + state[k.PC], 46])
        where = place_of(self.program, self._tables, run.states, queue)
        if not 0 <= number < len(self.program.host_calls):
            raise ProgramError(
                f"host call {number}; the program has {len(self.program.host_calls)}", where=where
            )
        if host is None:
            raise ProgramError("the program has host calls and no host was given", where=where)
        call = self.program.host_calls[number]
        results = host(call, {name: self.read_tensor(name) for name in call.inputs if name})
        for name in filter(None, call.outputs):
            if name not in results:
                raise ProgramError(f"the host gave no '{printable(name)}'", where=where)
            self.write_tensor(name, results[name])

    def _where(self) -> str:
        return f"program '{printable(self.program.name)}'"


def _keep_trace(run: _Run) -> None:
    run.kept.append(run.trace[: run.trace_count[0]].copy())
    run.trace_count[0] = 0


def _round_up(value: int) -> int:
    return -(-value // _LINE_BYTES) * _LINE_BYTES


def _cap(value: int | None) -> int:
    return -1 if value is None else max(0, value)


def _seed(value: int | None) -> int:
    """A seed of the interpreter's generator: 0 is round robin."""
    return 0 if value is None else (value * 2 + 1) & ((1 << 62) - 1)


def _nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean '{printable(close[0])}'?" if close else f"names are {_listed(names)}"


def _listed(names: Any) -> str:
    shown = sorted(names)
    return ", ".join(printable(n) for n in shown[:8]) + (
        f" and {len(shown) - 8} more" if len(shown) > 8 else ""
    )
