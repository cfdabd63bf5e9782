"""One row per instruction word: where it runs, what its fields mean, what it does, how long it
takes, whether RTL has it.

In:  nothing. Out: `ROWS`, from which `docs/isa.md`, the assembler and the verifier read.
Every execution (functional, timing, energy, RTL) has each word or the row says why not; a test
compares them.
"""

from __future__ import annotations

from dataclasses import dataclass

from athena.isa.fields import Op, Queue

_ALL = tuple(Queue)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRow:
    """All the project knows about one word. `fields` maps a slot of the word to its name and
    meaning.
    """

    op: Op
    queues: tuple[Queue, ...]
    fields: dict[str, tuple[str, str]]
    meaning: str
    cycles: str
    counts: str
    rtl: bool
    rtl_reason: str = ""


ROWS: tuple[WordRow, ...] = (
    WordRow(
        op=Op.END,
        queues=_ALL,
        fields={},
        meaning=(
            "The queue's stream is finished; it goes on with its next repeat or section, or "
            "stops after the last."
        ),
        cycles="1",
        counts="none",
        rtl=True,
    ),
    WordRow(
        op=Op.SYNC,
        queues=_ALL,
        fields={
            "p0": ("wait2", "sem | n << 8, n = 0: none"),
            "p1": ("wait3", "sem | n << 8, n = 0: none"),
            "p2": ("sig2", "signal code, 0: none"),
            "p3": ("sig3", "signal code, 0: none"),
        },
        meaning=(
            "Up to four waits, then up to four signals, and nothing else. All waits hold in one"
            " cycle, all are taken together."
        ),
        cycles="1",
        counts="none",
        rtl=True,
    ),
    WordRow(
        op=Op.LOOP,
        queues=_ALL,
        fields={
            "n0": ("count", "iterations; may be clipped (clip 0)"),
            "n1": (
                "body",
                (
                    "words of the body, which follow at once; nested loops included; at most "
                    "fifo_words"
                ),
            ),
            "p0": (
                "delta0",
                "bytes or units added to areg 0 of the list on every iteration after the first",
            ),
            "p1": ("delta1", "the same for the second"),
            "p2": ("delta2", "the same for the third"),
            "p3": ("delta3", "the same for the fourth"),
            "p4": ("aregs", "four nibbles: the list of aregs, 0 = none"),
        },
        meaning=(
            "Run the body `count` times; between iterations aregs advance by their deltas, "
            "after the last they are restored to "
            "their values at entry. Nests 3 deep. Count 0 skips the body. The step from the"
            " last word of the body to the first "
            "costs no cycle."
        ),
        cycles="1",
        counts="none",
        rtl=True,
    ),
    WordRow(
        op=Op.SETA,
        queues=_ALL,
        fields={
            "p0": ("areg", "the register set, 1–15 (areg 0 is always 0)"),
            "p1": ("imm_low", "low 32 bits of the immediate"),
            "p2": ("imm_high", "high 16 bits of the immediate (signed)"),
            "p3": ("mult", "signed multiplier, or shift step if mode bit 0"),
            "p4": ("scalar", "launch scalar S[0..15]; S0 = 0, S14 = core, S15 = cluster"),
            "n0": ("div", "divisor, at least 1"),
            "n1": ("mod", "modulus, 0 = none"),
            "n2": ("add", "areg whose value is added at the end (0 adds nothing)"),
        },
        meaning=(
            "q = S[scalar] div `div`, then q mod `mod` (if not 0). areg = imm + q * mult + "
            "areg[add]; with mode bit 0: "
            "areg = (imm shifted left by q * mult, right if that is negative) + areg[add]. "
            "48-bit two's complement."
        ),
        cycles="18",
        counts="none",
        rtl=True,
    ),
    WordRow(
        op=Op.COPY,
        queues=(Queue.LOAD, Queue.STORE, Queue.CDMA_IN, Queue.CDMA_OUT),
        fields={
            "a": ("src", "address of the first byte; stride = between rows"),
            "d": ("dst", "address of the first byte; stride = between rows"),
            "n0": ("blocks", "outer count (clip 0)"),
            "n1": ("rows", "rows in a block (clip 1)"),
            "n2": ("row_bytes", "bytes of a row (clip 2)"),
            "p0": ("src_block", "bytes between blocks of the source"),
            "p1": ("dst_block", "bytes between blocks of the destination"),
        },
        meaning=(
            "dst[b, r, :] = src[b, r, :]. LOAD: HBM or own L2 to L1. STORE: L1 to HBM or "
            "own L2. CDMA_IN: HBM or L2 to L2. "
            "CDMA_OUT: L2 to HBM or L2. Source and destination may not overlap."
        ),
        cycles=(
            "latency + blocks * rows * ceil(row_bytes / bus) * beat_interval in fixed-latency "
            "memory; by granules otherwise"
        ),
        counts="bytes read and written at both ends, NoC byte-hops",
        rtl=True,
    ),
    WordRow(
        op=Op.COPYX,
        queues=(Queue.LOAD, Queue.STORE),
        fields={
            "a": ("src", "LOAD: base of the table in HBM; STORE: L1 rows, stride = between rows"),
            "b": ("index", "int32 row numbers in L1, packed"),
            "d": ("dst", "LOAD: L1 rows, stride = between rows; STORE: base of the table in HBM"),
            "n0": ("limit", "rows of the table; an index outside 0 … limit-1 is a fault"),
            "n1": ("rows", "rows moved (clip 1)"),
            "n2": ("row_bytes", "bytes of a row (clip 2)"),
            "p0": ("pitch", "bytes between rows of the table"),
        },
        meaning=(
            "LOAD gathers dst[r] = table[index[r]]; STORE scatters table[index[r]] = src[r], "
            "indices unique."
        ),
        cycles="as COPY with blocks = 1, plus one cycle a row for the index",
        counts="as COPY, and 4 bytes of L1 a row",
        rtl=True,
    ),
    WordRow(
        op=Op.FILL,
        queues=(Queue.LOAD,),
        fields={
            "d": ("dst", "L1 address; stride = between rows"),
            "n1": ("rows", "rows (clip 1)"),
            "n2": (
                "row_bytes",
                "bytes of a row (clip 2), a multiple of 4 unless the value is bytewise constant",
            ),
            "p0": ("value", "32-bit pattern, repeated from the first byte of each row"),
        },
        meaning=(
            "Constant rows in L1. Issues once the words before it in its queue have written what "
            "they write to its banks."
        ),
        cycles="rows * ceil(row_bytes / bus)",
        counts="bytes written to L1",
        rtl=True,
    ),
    WordRow(
        op=Op.MCAST,
        queues=(Queue.CDMA_IN,),
        fields={
            "a": ("src", "HBM address of the first byte; stride = between rows"),
            "d": ("dst", "L2 offset, the same in every slice; stride = between rows"),
            "n0": ("blocks", "outer count (clip 0)"),
            "n1": ("rows", "rows in a block (clip 1)"),
            "n2": ("row_bytes", "bytes of a row (clip 2)"),
            "p0": ("src_block", "bytes between blocks of the source"),
            "p1": ("dst_block", "bytes between blocks of the destination"),
            "p2": ("mask", "areg that holds the mask of receiving clusters"),
        },
        meaning=(
            "One read from HBM, written at the same offset of every L2 slice in the mask. "
            "Its signals leave when all slices hold "
            "the bytes; the program waits for the receivers' credits first."
        ),
        cycles="by granules",
        counts="HBM bytes read once, L2 bytes written in every slice, NoC byte-hops of the tree",
        rtl=False,
        rtl_reason="the RTL is one core; a cluster DMA is outside it",
    ),
    WordRow(
        op=Op.MATMUL,
        queues=(Queue.MATRIX,),
        fields={
            "a": ("A", "[M, K] in L1, stride = between rows; bf16, int8, uint8 or fp32"),
            "b": ("B", "[K, N] in L1, or [N, K] with mode bit 2; stride = between stored rows"),
            "c": ("bias", "[N] in L1 (mode 2): fp32 for floating point, int32 for integers"),
            "d": ("D", "[M, N] in ACC, fp32 or int32; stride = between rows"),
            "n0": ("M", "rows (clip 0)"),
            "n1": ("N", "columns (clip 1)"),
            "n2": ("K", "depth (clip 2)"),
            "p0": ("a_zero", "integer zero point subtracted from A"),
            "p1": ("b_zero", "integer zero point subtracted from B"),
        },
        meaning=(
            "D = init + A·B; mode bits 0–1: init is 0, what D holds, or the bias row. "
            "n-tiles of C columns in order; in each, "
            "k-tiles of R in ascending order; in each, rows in order. For one element and "
            "k-tile: chain = +0; for k ascending: "
            "chain = rne(chain + rne(a * b)); then D = rne(D + chain). K that R does not "
            "divide is padded with +0. bf16 and fp32 "
            "use fp32 arithmetic with gradual underflow; integers are exact in int32 "
            "(wrapping). A, B and the bias row lie in different L1 banks. "
            "fp32 operands exist in the arithmetic profile only."
        ),
        cycles="R + tiles * max(ceil(M / rate), R) + R * mac_latency + C",
        counts=(
            "M*N*K MACs, padded MACs, bytes of A once a n-tile, of B once, of D once a k-tile "
            "read and written"
        ),
        rtl=True,
    ),
    WordRow(
        op=Op.VEC,
        queues=(Queue.VECTOR,),
        fields={
            "a": ("a", "[rows, cols] in L1 or ACC"),
            "b": ("b", "second operand of alu1 (of SELECT: the value where t is not 0)"),
            "c": ("c", "second operand of alu2"),
            "d": ("d", "[rows, cols] result in L1 or ACC; dtype NONE: no result"),
            "e": (
                "e",
                "[rows] fp32 (int32 in integer mode) side output in L1, stride = between elements",
            ),
            "n0": ("rows", "rows (clip 0)"),
            "n1": ("cols", "columns (clip 1)"),
            "p0": ("steps", "alu1 | lut << 8 | alu2 << 16 | red << 24"),
            "p1": ("kinds", "kind of b | kind of c << 8"),
            "p2": ("lo", "mask: first column kept in row 0"),
            "p3": ("hi", "mask: first column not kept in row 0"),
            "p4": (
                "slopes",
                "lo slope (int8) | hi slope (int8) << 8 | lo selector << 16 | hi selector << 24",
            ),
            "p5": ("fill", "bit pattern of the fp32 (int32) value of columns that are not kept"),
            "p6": ("zero", "zero point added when the result is int8 or uint8"),
            "f0": ("imm_b", "operand b of kind IMM"),
            "f1": ("imm_c", "operand c of kind IMM"),
        },
        meaning=(
            "t = alu1(a, b); t = lut(t); t = alu2(t, c); masked columns become fill; row "
            "side output of t; d = cvt(t). "
            "A column j of row r is kept when lo + r*lo_slope <= j < hi + r*hi_slope, where"
            " lo and hi each add "
            "areg[selector & 15] + S[selector >> 4]. fp32 inside: every step is rounded to "
            "nearest even; narrower floats widen exactly; "
            "int32 converts to fp32 with rounding; mode bit 0: int32 inside, two's "
            "complement, no lut but ABS, NEG, NOT, SIGN. "
            "cvt: to bf16 / fp16 nearest even; to integers nearest even, then + zero, then "
            "saturate; NaN to integer gives 0. "
            "Reduction: lane l takes columns l, l+lanes, … ascending (starting from the "
            "first of them), then a pairwise tree over the "
            "lanes (lane i with lane i + half, half = next power of two / 2 downwards; "
            "absent lanes are skipped); SUMSQ squares first. "
            "Mode bit 2: the row's value then combines with what e holds (e first operand)."
            " max and min: NaN wins, -0 < +0. "
            "One canonical NaN 0x7FC00000."
        ),
        cycles=(
            "startup + rows * ceil(cols / lanes) * passes (+ tree levels if reducing); passes: "
            "operands a, b, c and a kept e are each read in the first cycle of a step in which no "
            "operand before them reads a bank of theirs; at least 2 where d and e share a bank"
        ),
        counts="alu, lut and conversion operations, bytes of L1 and ACC",
        rtl=True,
    ),
    WordRow(
        op=Op.VPERM,
        queues=(Queue.VECTOR,),
        fields={
            "a": ("a", "[rows, cols] in L1 or ACC; element size from its dtype"),
            "d": ("d", "result in L1; the same dtype"),
            "n0": ("rows", "rows (clip 0)"),
            "n1": ("cols", "columns (clip 1)"),
        },
        meaning=(
            "mode 0: d[j, i] = a[i, j]. mode 1: with h = cols / 2: d[:, :h] = -a[:, h:], "
            "d[:, h:] = a[:, :h]. mode 2: "
            "d[:, 2i] = -a[:, 2i+1], d[:, 2i+1] = a[:, 2i]. mode 3: d[i, j] = a[i, j]. "
            "Negation flips the sign bit of floats."
        ),
        cycles=(
            "startup + rows * ceil(cols / lanes), mode 1: startup + rows * 2 * ceil(cols / 2 / "
            "lanes); mode 0: transpose_cycles below"
        ),
        counts="bytes of L1 and ACC",
        rtl=True,
    ),
    WordRow(
        op=Op.VGATHER,
        queues=(Queue.VECTOR,),
        fields={
            "a": ("a", "table in L1: mode 0 [n2, cols], mode 1 [rows, n2]"),
            "b": ("index", "int32 in L1: mode 0 [rows] packed, mode 1 [rows, cols]"),
            "d": ("d", "[rows, cols] in L1; the dtype of a"),
            "n0": ("rows", "rows (clip 0)"),
            "n1": ("cols", "columns (clip 1)"),
            "n2": ("limit", "an index outside 0 … limit-1 is a fault (clip 2)"),
        },
        meaning="mode 0: d[r, :] = a[index[r], :]. mode 1: d[r, j] = a[r, index[r, j]].",
        cycles=(
            "startup + rows * (1 + ceil(cols / lanes)), mode 1: startup + rows * (cols + "
            "ceil(cols / lanes))"
        ),
        counts="bytes of L1",
        rtl=True,
    ),
    WordRow(
        op=Op.VMXQ,
        queues=(Queue.VECTOR,),
        fields={
            "a": ("a", "[rows, cols] in L1 or ACC; fp32, bf16, fp16 or int32"),
            "d": ("d", "[rows, cols] int8 in L1"),
            "e": ("e", "[rows] fp32 scales in L1, stride = between elements"),
            "n0": ("rows", "rows (clip 0)"),
            "n1": ("cols", "columns (clip 1)"),
        },
        meaning=(
            "mode 0: every row becomes int8 with a scale of its own. For each row r, with a "
            "converted to fp32 as VEC does: m = max |a[r, :]| (NaN wins); e[r] = m * q with q = "
            "0x3C010204, the fp32 nearest 1/127, but at least 2^-126 where m > 0; inv = RECIP(e[r])"
            " by the tables, 0 where e[r] = 0; d[r, j] = a[r, j] * inv to the nearest integer, half"
            " to even, NaN gives 0. Every product is one fp32 operation rounded to nearest even. "
            "No d passes ±127, and |a - d * e| <= 0.50004 e for every row of finite numbers. A row "
            "of zeros (of either sign) has e = +0 and d = 0. A row with a NaN has e = 0x7FC00000, "
            "one with an infinity and no NaN has e = +infinity; both have d = 0, so that d * e is "
            "NaN. The operands do not overlap."
        ),
        cycles=(
            "startup + rows * ceil(cols / lanes) + tree levels, then startup + rows * (1 + "
            "ceil(cols / lanes))"
        ),
        counts=(
            "two alu operations and a conversion an element, an alu operation and a lut step a "
            "row, bytes of a twice, of e written and read, of d"
        ),
        rtl=True,
    ),
    WordRow(
        op=Op.CALL,
        queues=(Queue.HOST,),
        fields={"p0": ("call", "index into the program's host calls")},
        meaning="onnxruntime on the host computes one node on tensors in HBM.",
        cycles="latency + bytes / link + declared host seconds, with a range",
        counts="bytes over the link, host seconds",
        rtl=False,
        rtl_reason="the host is not part of the core",
    ),
)

BY_OP: dict[Op, WordRow] = {row.op: row for row in ROWS}
