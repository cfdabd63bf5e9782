"""A slow model of one core with fixed-latency memory that advances cycle by cycle: the oracle for
the event-driven engine.

It shares with the engine only the word format and the closed forms of `athena.isa.cycles`. Streams
are first expanded into the sequence of words that will be executed, registers included; then every
cycle delivers, completes, frees, signals and issues.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from athena.isa import cycles as law
from athena.isa.fields import DT_BYTES, Acc, Dt, Kind, Op, Perm, Queue, Seg, Sig

QUEUES = (Queue.STORE, Queue.LOAD, Queue.MATRIX, Queue.VECTOR)
CONTROL = (Op.END, Op.SYNC, Op.LOOP, Op.SETA)


@dataclass
class Step:
    """One executed word: its place, registers, and the words that leave the FIFO when it issues."""

    pc: int
    word: object
    aregs: list
    repeat: int
    run: object
    releases: list = field(default_factory=list)


def signed48(value):
    value &= (1 << 48) - 1
    return value - (1 << 48) if value >> 47 else value


def clipped(word, which, aregs, scalars):
    n = int(word["n"][which])
    if int(word["clip"][0]) >> which & 1:
        select = int(word["clip"][1 + which])
        n = min(n, max(0, int(word["lim"][which]) + scalars[select >> 4] - aregs[select & 15]))
    return n


def set_areg(word, aregs, scalars):
    p = [int(v) for v in word["p"]]
    quotient = scalars[p[4]] // int(word["n"][0])
    if int(word["n"][1]):
        quotient %= int(word["n"][1])
    immediate = p[2] * (1 << 32) + p[1] % (1 << 32)
    value = (immediate << quotient * p[3]) if int(word["mode"]) & 1 else immediate + quotient * p[3]
    if p[0]:
        aregs[p[0]] = signed48(value + aregs[int(word["n"][2])])


def expand(words, first, end, aregs, scalars, depth, make):
    """The words [first, end) as executed, loops unrolled."""
    steps, pc = [], first
    while pc < end:
        word, op = words[pc], Op(int(words[pc]["op"]))
        step = make(pc, word, list(aregs))
        if depth == 0:
            step.releases.append(pc)
        steps.append(step)
        if op is Op.SETA:
            set_areg(word, aregs, scalars)
        pc += 1
        if op is Op.LOOP:
            body = range(pc, pc + int(word["n"][1]))
            steps += unroll(words, word, body, aregs, scalars, depth, make)
            if depth == 0:
                steps[-1].releases += list(body)
            pc = body.stop
    return steps


def unroll(words, word, body, aregs, scalars, depth, make):
    """The body of a loop as often as it counts.

    Its registers step between iterations and are restored at the end.
    """
    registers = {k: int(word["p"][4]) >> 4 * k & 15 for k in range(4)}
    registers = {k: r for k, r in registers.items() if r}
    entry = {r: aregs[r] for r in registers.values()}
    count, steps = clipped(word, 0, aregs, scalars), []
    for iteration in range(count):
        if iteration:
            for k, r in registers.items():
                aregs[r] = signed48(aregs[r] + int(word["p"][k]))
        steps += expand(words, body.start, body.stop, aregs, scalars, depth + 1, make)
    if count:
        for r, value in entry.items():
            aregs[r] = value
    return steps


def banks(name, low, size, bank_bytes):
    return {(name, b) for b in range(low // bank_bytes, (low + size - 1) // bank_bytes + 1)}


class Demand:
    """Ports and time of one unit word."""

    def __init__(self, chip, step, queue, scalars, base):
        self.chip, self.step, self.base = chip, step, base
        self.word, self.ports = step.word, set()
        self.n = [clipped(step.word, k, step.aregs, scalars) for k in range(3)]
        self.zero, self.latency, self.beats = False, 0, 1
        op = Op(int(step.word["op"]))
        {
            Queue.LOAD: self.dma,
            Queue.STORE: self.dma,
            Queue.MATRIX: self.matmul,
            Queue.VECTOR: self.vector,
        }[queue](op, queue)

    def place(self, name):
        low, imm = (int(v) for v in self.word[name])
        seg = Seg(low & 15)
        base = self.base[seg] if seg < 8 else 0
        return seg, base + self.step.aregs[low >> 4 & 15] + imm, low >> 8

    def size(self, index):
        return DT_BYTES[Dt(int(self.word["dt"]) >> 4 * index & 15)]

    def use(self, name, side, span):
        """Reserve the ports of an operand whose bytes span `span(stride)`; returns its banks."""
        seg, low, stride = self.place(name)
        per = self.chip.l1_bank_bytes if seg is Seg.L1 else self.chip.acc_region_bytes
        size = span(stride)
        touched = banks(seg.name, low, size, per)
        self.ports |= {(side, *bank) for bank in touched}
        return touched

    def matmul(self, op, queue):
        assert op is Op.MATMUL
        m, n, k = self.n
        mode, chip = int(self.word["mode"]), self.chip.core.matrix
        kind = {Dt.I8: "int8", Dt.U8: "int8", Dt.F32: "fp32"}.get(
            Dt(int(self.word["dt"]) & 15), "bf16"
        )
        self.beats = law.matmul_cycles(
            m, n, k, chip.rows, chip.cols, chip.rate[kind], chip.mac_latency_cycles
        )
        if m == 0 or n == 0:
            return
        if k:
            self.use("a", "read", lambda s: (m - 1) * s + k * self.size(0))
            rows, cols = (n, k) if mode & 4 else (k, n)
            self.use("b", "read", lambda s: (rows - 1) * s + cols * self.size(1))
        if Acc(mode & 3) is Acc.BIAS:
            self.use("c", "read", lambda s: n * 4)
        for side in ("read", "write"):
            self.use("d", side, lambda s: (m - 1) * s + n * 4)

    def vector(self, op, queue):
        rows, cols, limit = self.n
        vector = self.chip.core.vector
        if rows == 0 or cols == 0:
            return
        block = lambda size: lambda s: (rows - 1) * s + cols * size  # noqa: E731
        if op is Op.VEC:
            self.vec(rows, cols, block)
            return
        size = self.size(0)
        if op is Op.VPERM:
            self.use("a", "read", block(size))
            turned = int(self.word["mode"]) == Perm.TRANSPOSE
            height, width = (cols, rows) if turned else (rows, cols)
            self.use("d", "write", lambda s: (height - 1) * s + width * size)
            sides = rows, cols, vector.lanes, vector.startup_cycles
            halves = 2 if int(self.word["mode"]) == Perm.ROTATE_HALF else 1
            self.beats = (
                law.transpose_cycles(*sides) if turned else law.vperm_cycles(*sides, halves)
            )
        elif op is Op.VMXQ:
            self.use("a", "read", block(size))
            self.use("d", "write", block(1))
            for side in ("read", "write"):
                self.use("e", side, lambda s: (rows - 1) * s + 4)
            self.beats = law.vmxq_cycles(rows, cols, vector.lanes, vector.startup_cycles)
        else:
            by_rows = int(self.word["mode"]) == 0
            height, width = (limit, cols) if by_rows else (rows, limit)
            self.use("a", "read", lambda s: (height - 1) * s + width * size)
            self.use("b", "read", lambda s: rows * 4 if by_rows else (rows - 1) * s + cols * 4)
            self.use("d", "write", block(size))
            sides = rows, cols, vector.lanes, vector.startup_cycles
            self.beats = law.vgather_cycles(*sides, single=not by_rows)

    def vec(self, rows, cols, block):
        vector, p = self.chip.core.vector, [int(v) for v in self.word["p"]]
        reads = [self.use("a", "read", block(self.size(0)))]
        for name, index, kind in (("b", 1, Kind(p[1] & 255)), ("c", 2, Kind(p[1] >> 8 & 255))):
            size = self.size(index)
            spans = {
                Kind.FULL: block(size),
                Kind.ROW: lambda s, size=size: cols * size,
                Kind.COL: lambda s, size=size: (rows - 1) * s + size,
                Kind.SCALAR: lambda s, size=size: size,
            }
            if kind in spans:
                reads.append(self.use(name, "read", spans[kind]))
        writes = []  # with `reads`: the banks of each operand
        red = p[0] >> 24 & 255
        if red:
            side = lambda s: (rows - 1) * s + 4  # noqa: E731
            writes.append(self.use("e", "write", side))
            if int(self.word["mode"]) & 4:
                reads.append(self.use("e", "read", side))
        if self.size(3):
            writes.append(self.use("d", "write", block(self.size(3))))
        steps = []  # steps[i]: the banks read in cycle i of a step
        for touched in reads:
            free = next((step for step in steps if not step & touched), None)
            if free is None:
                steps.append(set(touched))
            else:
                free |= touched
        clash = len(writes) == 2 and writes[0] & writes[1]
        passes = max(len(steps), 2 if clash else 1)
        self.beats = law.vec_cycles(rows, cols, vector.lanes, vector.startup_cycles, passes, red)

    def dma(self, op, queue):
        blocks, rows, row = self.n if op is Op.COPY else (1, *self.n[1:])
        core = self.chip.core
        if 0 in (blocks, rows, row):
            self.zero = True
            return
        bus = core.load_bytes_per_cycle if queue is Queue.LOAD else core.store_bytes_per_cycle
        gbytes = int(self.chip.hbm.bandwidth_gbytes_per_s)  # at 1 GHz: bytes a cycle
        interval = 1 if op is Op.FILL else -(-bus // gbytes)
        beats = law.copy_beats(blocks, rows, row, bus) * interval
        self.beats = beats + (rows if op is Op.COPYX else 0)
        steps = [int(v) for v in self.word["p"][:2]] if op is Op.COPY else [0, 0]
        near, side, step = (
            ("d", "write", steps[1]) if queue is Queue.LOAD else ("a", "read", steps[0])
        )
        self.use(near, side, lambda s: (blocks - 1) * step + (rows - 1) * s + row)
        if op is Op.COPYX:
            self.use("b", "read", lambda s: rows * 4)
        if op is not Op.FILL:
            self.latency = self.chip.hbm.latency_cycles


class Lane:
    """One queue: its steps, its FIFO and its unit."""

    def __init__(self, kind, runs):
        self.kind, self.runs = (
            kind,
            runs,
        )  # runs: lists of steps, one for each repeat of each section
        self.run, self.at, self.dynamic = 0, 0, 0
        self.ready, self.previous, self.last = 0, None, 0
        self.flying = []  # (complete, ports)
        self.planned, self.demand = -1, None  # of the head, worked out once
        self.start(0)

    def start(self, time):
        self.at, self.head_from = 0, time
        self.delivered, self.delivered_at, self.released = 0, time, {}
        self.begin = time

    def deliver(self, chip, time):
        """The fetch port puts at most one word a cycle into the FIFO."""
        each = -(-128 // chip.core.fetch_bytes_per_cycle)
        latency, fifo, word = chip.core.fetch_latency_cycles, chip.core.fifo_words, self.delivered
        freed = self.begin if word < fifo else self.released.get(word - fifo)
        first = self.delivered_at + each + (latency if word == 0 else 0)
        if freed is not None and time >= max(
            first, freed + (latency + each if word >= fifo else 0)
        ):
            self.delivered, self.delivered_at = word + 1, time


def waits_of(word):
    pairs = [(int(word["wait"][2 * k]), int(word["wait"][2 * k + 1])) for k in range(2)]
    if int(word["op"]) == Op.SYNC:
        pairs += [(int(word["p"][k]) & 255, int(word["p"][k]) >> 8 & 255) for k in range(2)]
    return [(sem, n) for sem, n in pairs if n]


def signals_of(word):
    codes = [int(code) for code in word["sig"]]
    if int(word["op"]) == Op.SYNC:
        codes += [int(word["p"][k]) for k in (2, 3)]
    return [code for code in codes if code]


def lanes_of(program, scalars):
    """Every queue of the core with the steps of all its runs."""
    lanes = []
    for kind in QUEUES:
        runs = []
        for section in program.sections:
            for run in section.runs:
                if run.kind is not kind:
                    continue
                words = program.streams[run.stream].words
                for repeat in range(section.repeat):
                    aregs = [0] * 16
                    for register, value in run.aregs:
                        aregs[register] = value
                    make = lambda pc, word, regs, r=repeat, s=run: Step(pc, word, regs, r, s)  # noqa: E731
                    runs.append(expand(words, 0, len(words), aregs, scalars, 0, make))
        lanes.append(Lane(kind, runs))
    return lanes


def simulate_slowly(program, chip, limit=2_000_000):
    """Trace rows (queue, dynamic index, pc, issue, complete) in order of (issue, tie order), and
    the last cycle.
    """
    scalars = [*program.scalars, *[0] * 16][:14] + [0, 0]
    lanes = lanes_of(program, scalars)
    sems = dict.fromkeys(range(32), 0) | dict(program.core_sems)
    arriving, trace, time = {}, [], 0
    base = [0] * 16  # addresses in main memory do not matter in fixed-latency memory
    while any(lane.run < len(lane.runs) for lane in lanes):
        assert time < limit
        for sem in arriving.pop(time, ()):
            sems[sem] += 1
        for lane in lanes:
            lane.flying = [flight for flight in lane.flying if flight[0] > time]
            if lane.run < len(lane.runs):
                lane.deliver(chip, time)
        for lane in lanes:
            if lane.run < len(lane.runs):
                issue(lane, lanes, chip, sems, arriving, trace, time, scalars, base)
        time += 1
    return trace, max((row[4] for row in trace), default=0)


def issue(lane, lanes, chip, sems, arriving, trace, time, scalars, base):
    """Issue the lane's head in this cycle if it can."""
    step = lane.runs[lane.run][lane.at]
    if step.pc >= lane.delivered or time < lane.head_from:
        return
    word, op = step.word, Op(int(step.word["op"]))
    waits = waits_of(word)
    if any(sems[sem] < n for sem, n in waits):
        return
    if op in CONTROL:
        complete = lane.head_from = time + {Op.SETA: law.SETA_CYCLES}.get(op, 1)
    else:
        if lane.planned != lane.dynamic:
            lane.planned, lane.demand = lane.dynamic, Demand(chip, step, lane.kind, scalars, base)
        complete = start_unit(lane, lanes, chip, time, lane.demand)
        if complete is None:
            return
    for sem, n in waits:
        sems[sem] -= n
    for code in signals_of(word):
        assert code >> 13 == Sig.SELF
        arriving.setdefault(complete + 1, []).append(code & 31)
    for pc in step.releases:
        lane.released[pc] = time
    trace.append((int(lane.kind), lane.dynamic, step.pc, time, complete))
    lane.dynamic += 1
    lane.at += 1
    if op is Op.END:
        lane.run += 1
        lane.start(time + 1)


def start_unit(lane, lanes, chip, time, demand):
    """Start the unit on a word; returns its completion, None if the unit or a port is taken."""
    dma = lane.kind in (Queue.LOAD, Queue.STORE)
    room = chip.core.dma_words_in_flight if dma else 1
    if time < lane.ready or len(lane.flying) >= room:
        return None
    others = [ports for other in lanes if other is not lane for _, ports in other.flying]
    if Op(int(demand.word["op"])) is Op.FILL:
        others += [ports for _, ports in lane.flying]  # it has no reads
    if demand.ports & set().union(*others):
        return None
    complete = time + demand.beats + demand.latency
    if dma:
        lane.ready = time + (0 if demand.zero else demand.beats)
        complete = max(complete, lane.last)
    lane.last = complete
    lane.flying.append((complete, demand.ports))
    lane.head_from = time + 1
    return complete
