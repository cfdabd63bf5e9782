"""The timing engine's memory: one int64 array `m`, and the names of the places in it.

In:  nothing. Out: integer constants, which Numba freezes into the kernels.

`m` begins with chip parameters (C_…), global state (G_…), the action counts (COUNTS_AT + N_…) and
the demand of the word just planned (D_…), all at fixed places. Tables of variable size follow;
their places are in m[…_AT]. A queue is a row of Q_SIZE values; kernels get the place `p` of that
row, so that m[p + PC] is the queue's program counter.
"""

from __future__ import annotations

from collections.abc import Iterator

# An event is one int64: time << TIME_SHIFT | phase << PHASE_SHIFT | payload. Phases run in this
# order within a cycle; the payload is a queue number (tie order) or a semaphore number.
TIME_SHIFT = 20
PHASE_SHIFT = 18
PAYLOAD_MASK = (1 << PHASE_SHIFT) - 1
PHASE_COMPLETE, PHASE_SIGNAL, PHASE_GRANULE, PHASE_TRY = range(4)
CONTROLLER = PAYLOAD_MASK  # in place of a queue's number: the controller of one channel
TIME_LIMIT_CYCLES = 1 << 42
ADDRESS_LIMIT = 1 << 47
SIZE_LIMIT = 1 << 56  # bytes or MACs of one word

TICKS = 256  # contended servers keep time in 1/256 cycle
RATE_SHIFT = 20  # rates are ticks a byte << RATE_SHIFT
GRANULE_BYTES = 2048  # a transfer is cut in granules of this size (no more than one turn round the
# channels), or larger ones ...
GRANULES = 32  # ... if there would be more than this many
ATOM_BYTES = 32  # least that a channel transfers
BATCH_BYTES = 2048  # writes collected by a channel (32 entries of 64 bytes) before it turns
BATCH_ATOMS = BATCH_BYTES // ATOM_BYTES  # also those of a direction that the controller sees
FLIGHTS = 16  # most DMA words in flight that a chip may have
AREGS, SEGS, SCALARS = 16, 16, 16
INSTANCES_LIMIT = 4096  # repeats of a node whose intervals are kept apart; more are grouped evenly
INSTANCES_TOTAL = 1 << 22  # and of all nodes together
NODES_LIMIT = 1 << 24


def _places(start: int, names: str, sizes: dict[str, int]) -> Iterator[int]:
    """Consecutive places for `names`, of size 1 unless `sizes` says otherwise, then the end."""
    for name in names.split():
        yield start
        start += sizes.get(name, 1)
    yield start


# Chip parameters, launch scalars, segment bounds.
_C = """C_CORES C_CLUSTERS C_MESH_COLS C_CLUSTER_CORES C_FIFO C_FETCH_CYCLES C_FETCH_LATENCY C_ROWS
C_COLS C_RATE C_MAC_LATENCY C_LANES C_STARTUP C_L1 C_L1_BANK C_ACC C_ACC_BANK C_L2 C_LOAD C_STORE
C_DMA C_INTERVAL C_IN_FLIGHT C_FIXED C_HBM_LATENCY C_L2_LATENCY C_SIGNAL C_HOP C_TRACE C_CHANNELS
C_CHANNEL_BITS C_INTERLEAVE C_BANKS C_ROW_BYTES C_MISS C_TURN C_REFRESH_EVERY C_REFRESH
C_REFRESH_ONLY C_ATOM_TICKS C_WINDOW C_CONTROL C_CHANNEL_RATE C_L2_RATE C_LINK_RATE
C_PORT_RATE C_EDGES C_GRANULE C_RING C_ROUTE C_CALLS C_SCALARS
C_LOW C_HIGH"""
_SIZES = {
    **dict.fromkeys(("C_CHANNELS", "C_INTERLEAVE", "C_BANKS", "C_ROW_BYTES"), 2),  # and its shift
    "C_RATE": 3,
    "C_INTERVAL": 6,  # by kind of queue
    "C_SCALARS": SCALARS,
    "C_LOW": SEGS,
    "C_HIGH": SEGS,
}
(
    C_CORES, C_CLUSTERS, C_MESH_COLS, C_CLUSTER_CORES, C_FIFO, C_FETCH_CYCLES, C_FETCH_LATENCY,
    C_ROWS, C_COLS, C_RATE, C_MAC_LATENCY, C_LANES, C_STARTUP, C_L1, C_L1_BANK, C_ACC, C_ACC_BANK,
    C_L2, C_LOAD, C_STORE, C_DMA, C_INTERVAL, C_IN_FLIGHT, C_FIXED, C_HBM_LATENCY, C_L2_LATENCY,
    C_SIGNAL, C_HOP, C_TRACE, C_CHANNELS, C_CHANNEL_BITS, C_INTERLEAVE, C_BANKS, C_ROW_BYTES,
    C_MISS, C_TURN, C_REFRESH_EVERY, C_REFRESH, C_REFRESH_ONLY, C_ATOM_TICKS, C_WINDOW,
    C_CONTROL, C_CHANNEL_RATE, C_L2_RATE, C_LINK_RATE,
    C_PORT_RATE, C_EDGES, C_GRANULE, C_RING, C_ROUTE, C_CALLS, C_SCALARS, C_LOW, C_HIGH, C_END,
) = _places(0, _C, _SIZES)  # fmt: skip

# Global state, and the places of the tables.
(
    G_HEAP, G_EVENTS, G_LIVE, G_ROWS, G_LAST, G_FAULT, G_FAULT_QUEUE, G_FAULT_ARG, G_HBM_TICKS,
    CORES_AT, QUEUES_AT, RELEASED_AT, WINDOWS_AT, RINGS_AT, SEMS_AT, RUNS_AT, ORDER_AT, NODES_AT,
    INSTANCES_AT, CALLS_AT, SERVERS_AT, CHANNELS_AT, BANKS_AT, EDGES_AT, ROUTES_AT,
    LINKS_USED_AT, CONTROL_AT, G_END,
) = range(C_END, C_END + 28)  # fmt: skip

# Action counts.
COUNTS_AT = G_END
(
    N_MACS, N_MACS_INT8, N_MACS_FP32, N_PADDED, N_PADDED_INT8, N_PADDED_FP32, N_ALU, N_LUT, N_CAST,
    N_L1R, N_L1W, N_ACR, N_ACW, N_L2R, N_L2W, N_HBMR, N_HBMW, N_HOPS, N_LINK, N_FETCH, COUNTS,
) = range(21)  # fmt: skip

# What a word asks for. The four port masks are adjacent, reads first, L1 before ACC.
D_AT = COUNTS_AT + COUNTS
(
    D_L1R, D_ACR, D_L1W, D_ACW, D_CYCLES, D_STALL, D_LATENCY, D_ZERO, D_FAULT, D_BYTES, D_ROW,
    D_ROWS, D_ADDR, D_STRIDE, D_BSTRIDE, D_DIR, D_L2, D_MASK, D_TABLE, D_PITCH, D_COUNTS,
) = range(D_AT, D_AT + 21)  # fmt: skip
D_END = D_COUNTS + COUNTS
READ, WRITE = D_L1R, D_L1W
DIR_NONE, DIR_READ, DIR_WRITE = range(3)  # direction of the main-memory side
FIXED_END = D_END  # tables begin here

# A queue: identity, run and word, state, time accounting, ports held, transfer being injected.
(
    NUMBER, KIND, UNIT, CLUSTER, SEMS, RELEASED, WINDOW, DONE, RUN, RUN_END, REPEAT, PC, WORD0,
    WORDS, STREAM, FETCHED, AVAIL, TRY_AT, READY, HEAD_SLOT, INFLIGHT, DEPTH, DYNAMIC,
    ACCOUNTED, REASON, CONTROL_END, FLYING, BEATS, CONTROL, STALL_FETCH, STALL_SEM, STALL_PORT,
    LAST, HELD_L1R, HELD_ACR, HELD_L1W, HELD_ACW, INJ_LEFT, INJ_POS, INJ_SIZE, INJ_AT,
    INJ_FINISH, INJ_BEATS, WIN_HEAD, WIN_COUNT, WIN_BYTES, WIN_LIMIT, M_BYTES, M_ROW, M_ROWS,
    M_ADDR, M_STRIDE, M_BSTRIDE, M_DIR, M_L2, M_MASK, M_TABLE, M_PITCH, M_LATENCY, WRITES,
    PORT_BYTES, RING, RING_MASK, SENT, SENT_AT, ENTERED, ANSWERED, ANSWERED_AT, NEWEST, AREG,
) = range(70)  # fmt: skip
BASE = AREG + AREGS
LOOPS = BASE + SEGS
L_START, L_END, L_LEFT, L_WORD, L_SAVED, LOOP_SIZE = 0, 1, 2, 3, 4, 8
FLIGHT = LOOPS + 3 * LOOP_SIZE
(
    F_ISSUE, F_L1R, F_ACR, F_L1W, F_ACW, F_SIG0, F_MASK0, F_SIG1, F_MASK1, F_ROW, F_NODE,
    F_INSTANCE, F_BOUND, F_TIME, F_SIZE,
) = range(15)  # fmt: skip
Q_SIZE = FLIGHT + FLIGHTS * F_SIZE

# Reasons why a queue's head has not issued.
REASON_FETCH, REASON_SEM, REASON_PORT, REASON_UNIT, REASON_DONE = range(5)

# Rows of the other tables.
RUN_WORD0, RUN_WORDS, RUN_REPEAT, RUN_STREAM, RUN_AREG = range(5)
RUN_BASE = RUN_AREG + AREGS
RUN_STRIDE = RUN_BASE + SEGS
RUN_SIZE = RUN_STRIDE + SEGS
S_VALUE, S_CONSUMER, S_SIZE = range(3)
(
    NODE_MATRIX, NODE_VECTOR, NODE_DMA, NODE_HBM, NODE_L2, NODE_BASE, NODE_GROUP, NODE_SIZE,
) = range(8)  # fmt: skip
I_FIRST, I_LAST, I_SIZE = range(3)
CALL_CYCLES, CALL_BYTES, CALL_RUNS, CALL_SIZE = range(4)
(
    CH_FREE, CH_REFRESH, CH_OPEN, CH_WRITTEN, CH_READ, CH_EDGE, CH_SIZE,
) = range(7)  # fmt: skip
B_ROW, B_FREE, B_CLAIM, B_SIZE = range(4)  # open row, -1: none
W_FINISH, W_BYTES, W_SIZE = range(3)
# The controller of one channel; a place for each direction (0: write, 1: read) of the last five.
(
    K_NOW, K_BUS_FREE, K_REFRESH_AT, K_DIRECTION, K_SEEN, K_MOVED, K_QUIET, K_PENDING,
) = range(8)  # fmt: skip
K_HEAD, K_TAIL, K_WAITING, K_RING, K_RING_MASK, K_SIZE = range(8, 20, 2)
T_DUE, T_ADDR, T_BYTES, T_MORE, T_WORD, T_FIRST, T_LAST, T_ANSWER, T_SIZE = range(9)  # a beat
X_NUMBER, X_BANK, X_ROW, X_STATE, X_START, X_SIZE = range(6)  # an atom
X_PARTIAL, X_WHOLE, X_DONE = range(3)
E_BYTES, E_FINISH, E_SIZE = range(3)  # a granule's share of each memory edge

# Columns of the words beyond the decoded ones: the node that the word works for (-1: none), and
# its row in the node table.
W_NODE, W_NODE_ROW, W_COLUMNS = 56, 57, 58

# Status that the kernel returns.
RUNNING, FINISHED, GROW_HEAP, GROW_TRACE, FAULTED = range(5)

# Faults.
(
    FAULT_NONE, FAULT_OP, FAULT_BOUNDS, FAULT_SEGMENT, FAULT_OVERFLOW, FAULT_PC, FAULT_LOOP,
    FAULT_DTYPE, FAULT_SIZE, FAULT_CALL, FAULT_TIME,
) = range(11)  # fmt: skip
FAULT_TEXTS = (
    "",
    "illegal word, or a word that this queue cannot run",
    "an operand lies outside its memory",
    "an operand is in a memory that this word cannot reach",
    "a semaphore passed 255",
    "the queue ran past the end of its stream without END",
    "a loop is nested deeper than 3, longer than the FIFO, crosses another's end, or holds END",
    "the chip has no rate for the operands' type",
    "a count is too large",
    "the word names a host call that the program does not have",
    "simulated time passed 2^42 cycles",
)
