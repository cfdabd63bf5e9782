"""Names of the columns of the engine's int64 arrays: one copy for the setup, the kernels and the collection of results.

In:  nothing. Out: integer constants, which Numba freezes into the kernels.
"""

from __future__ import annotations

# An event is one int64: time << TIME_SHIFT | phase << PHASE_SHIFT | payload. Phases run in this order within a cycle.
TIME_SHIFT = 20
PHASE_SHIFT = 18
PAYLOAD_MASK = (1 << PHASE_SHIFT) - 1
PHASE_COMPLETE, PHASE_SIGNAL, PHASE_GRANULE, PHASE_TRY = range(4)
TIME_LIMIT_CYCLES = 1 << 42
TICKS = 256  # contended servers keep time in 1/256 cycle
RATE_SHIFT = 20  # rates are ticks a byte << RATE_SHIFT
GRANULE_BYTES = 2048  # a transfer is cut in granules of at least this size ...
GRANULES = 32  # ... and at most this many
ATOM_BYTES = 32  # least that a channel transfers
WRITE_BATCH_BYTES = 2048  # writes that a channel collects (32 entries of 64 bytes) before it turns its bus around

# Global state g[...]
(
    G_HEAP, G_EVENTS, G_LIVE, G_ROWS, G_LAST, G_FAULT, G_FAULT_QUEUE, G_FAULT_ARG, G_HBM_TICKS, G_SIZE,
) = range(10)  # fmt: skip

# Queue state q[queue, ...]
(
    KIND, UNIT, CLUSTER, SLOT, SEMS, DONE, RUN, RUN_END, REPEAT, PC, WORD0, WORDS, FETCHED, AVAIL, TRY_AT, READY,
    HEAD_SLOT, INFLIGHT, DEPTH, DYNAMIC, ACCOUNTED, REASON, CONTROL_END, BUSY, STALL_FETCH, STALL_SEM, STALL_PORT, LAST,
    HELD_L1R, HELD_ACR, HELD_L1W, HELD_ACW, STREAM,
    INJ_LEFT, INJ_POS, INJ_SIZE, INJ_AT, INJ_FINISH, INJ_BEATS, WIN_HEAD, WIN_COUNT, WIN_BYTES, WIN_LIMIT,
    M_BYTES, M_ROW, M_ROWS, M_ADDR, M_STRIDE, M_BSTRIDE, M_DIR, M_L2, M_MASK, M_TABLE, M_PITCH, M_LATENCY, Q_SIZE,
) = range(56)  # fmt: skip

# Reasons why a queue's head has not issued.
REASON_FETCH, REASON_SEM, REASON_PORT, REASON_UNIT, REASON_DONE = range(5)

# Words in flight f[queue, slot, ...]
(
    F_ISSUE, F_L1R, F_ACR, F_L1W, F_ACW, F_SIG0, F_MASK0, F_SIG1, F_MASK1, F_ROW, F_NODE, F_INSTANCE, F_SIZE,
) = range(13)  # fmt: skip

# Loop frames, LOOP_FIELDS a level: loops[queue, level * LOOP_FIELDS + ...]
L_START, L_END, L_LEFT, L_WORD, L_SAVED = range(5)
LOOP_FIELDS = 8

# What a word asks for: d[...]. The four port masks are adjacent, reads first, L1 before ACC.
(
    D_L1R, D_ACR, D_L1W, D_ACW, D_CYCLES, D_LATENCY, D_ZERO, D_FAULT, D_FAULT_ARG,
    D_BYTES, D_ROW, D_ROWS, D_ADDR, D_STRIDE, D_BSTRIDE, D_DIR, D_L2, D_MASK, D_TABLE, D_PITCH, D_COUNTS,
) = range(21)  # fmt: skip
READ, WRITE = D_L1R, D_L1W
DIR_NONE, DIR_READ, DIR_WRITE = range(3)  # of the main-memory side

# Action counts, also at d[D_COUNTS + ...]
(
    N_MACS, N_MACS_INT8, N_MACS_FP32, N_PADDED, N_PADDED_INT8, N_PADDED_FP32, N_ALU, N_LUT, N_CAST,
    N_L1R, N_L1W, N_ACR, N_ACW, N_L2R, N_L2W, N_HBMR, N_HBMW, N_HOPS, N_LINK, N_WORDS, N_FETCH, COUNTS,
) = range(22)  # fmt: skip
D_SIZE = D_COUNTS + COUNTS

# Chip parameters c[...]
(
    C_CORES, C_CLUSTERS, C_MESH_COLS, C_CLUSTER_CORES, C_FIFO, C_FETCH_CYCLES, C_FETCH_LATENCY, C_ROWS, C_COLS, C_RATE_BF16,
    C_RATE_INT8, C_RATE_FP32, C_MAC_LATENCY, C_LANES, C_STARTUP, C_L1, C_L1_BANK, C_ACC, C_ACC_BANK, C_L2, C_LOAD, C_STORE,
    C_DMA, C_IN_FLIGHT, C_FIXED, C_HBM_LATENCY, C_L2_LATENCY, C_SIGNAL, C_HOP, C_TRACE, C_CHANNELS, C_CHANNEL_BITS,
    C_INTERLEAVE, C_BANKS, C_ROW_BYTES, C_MISS, C_TURN, C_REFRESH_EVERY, C_REFRESH, C_CHANNEL_RATE, C_L2_RATE, C_LINK_RATE,
    C_PORT_RATE, C_EDGES, C_SIZE,
) = range(45)  # fmt: skip

# Rows of the run table: which words a queue runs, how often, from which aregs, in which section.
RUN_WORD0, RUN_WORDS, RUN_SECTION, RUN_REPEAT, RUN_AREGS, RUN_STREAM, RUN_SIZE = range(7)

# Node table n[node, ...]
NODE_MATRIX, NODE_VECTOR, NODE_DMA, NODE_HBM, NODE_L2, NODE_BASE, NODE_GROUP, NODE_SIZE = range(8)
INSTANCES_LIMIT = 4096  # repeats of one node whose intervals are kept apart; more are grouped evenly

# Channel state channels[channel, ...], bank state banks[channel * banks + bank, ...], window ring window[queue, entry, ...]
CH_FREE, CH_REFRESH, CH_WRITTEN, CH_READ, CH_EDGE, CH_SIZE = range(6)
B_ROW, B_FREE, B_SIZE = range(3)
W_FINISH, W_BYTES, W_SIZE = range(3)
E_BYTES, E_FINISH, E_SIZE = range(3)  # a granule's share of each memory edge

# Status that the kernel returns.
RUNNING, FINISHED, GROW_HEAP, GROW_TRACE, FAULTED = range(5)

# Faults.
(
    FAULT_NONE, FAULT_OP, FAULT_BOUNDS, FAULT_SEGMENT, FAULT_OVERFLOW, FAULT_PC, FAULT_LOOP, FAULT_DTYPE, FAULT_SIZE,
    FAULT_CALL, FAULT_TIME,
) = range(11)  # fmt: skip
FAULT_TEXTS = (
    "",
    "illegal word, or a word that this queue cannot run",
    "an operand lies outside its memory",
    "an operand is in a memory that this word cannot reach",
    "a semaphore passed 255",
    "the queue ran past the end of its stream without END",
    "a loop is nested deeper than 3, longer than the FIFO, or left by END",
    "the chip has no rate for the operands' type",
    "a count is too large",
    "the word names a host call that the program does not have",
    "simulated time passed 2^42 cycles",
)
