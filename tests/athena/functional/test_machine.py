"""The machine's face: inputs, outputs, tensors, host calls, traces, raw memory."""

from __future__ import annotations

import zlib

import ml_dtypes
import numpy as np
import pytest

from athena.errors import CapacityError, InputError, ProgramError
from athena.functional import Machine, QueueId
from athena.isa.builder import StreamBuilder, Vec, Wait, hbm, imm, l1, self_sem
from athena.isa.fields import Alu, Dt, Queue, Seg, Sig, signal
from athena.isa.program import HostCall, Tensor
from tests.athena.functional.lab import chip, program, same


def tensor(name, role, dt, source, shape, segment, offset=0, strides=None) -> Tensor:
    size = {Dt.F32: 4, Dt.BF16: 2, Dt.F16: 2, Dt.I8: 1, Dt.U8: 1, Dt.I32: 4}[dt]
    if strides is None:
        strides = tuple(size * int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    return Tensor(
        name=name,
        role=role,
        dtype=dt,
        source_dtype=source,
        shape=shape,
        segment=segment,
        offset=offset,
        strides=strides,
    )


def idle(*tensors: Tensor, **more) -> Machine:
    """A machine that does nothing but hold tensors."""
    builder = StreamBuilder()
    sizes = (0, 0, 0, 4096, 4096, 4096, 4096, 4096)
    made = program({(Queue.LOAD, ()): builder}, segment_bytes=sizes, tensors=tensors, **more)
    return Machine(made, chip("athena-edge"))


@pytest.mark.parametrize(
    "dt,source,values",
    [
        (Dt.F32, "float32", [1.5, -2.25, 1e-40, np.inf]),
        (Dt.F32, "float64", [1.5, -2.25]),
        (Dt.BF16, "bfloat16", [1.5, -2.0, np.inf]),
        (Dt.F16, "float16", [1.5, -2.0, 6e-8]),
        (Dt.I8, "int8", [-128, 127]),
        (Dt.U8, "uint8", [0, 255]),
        (Dt.U8, "bool", [0, 1]),
        (Dt.I32, "int64", [-(1 << 31), (1 << 31) - 1]),
        (Dt.I32, "int32", [5, -5]),
    ],
)
def test_values_that_fit_come_back(dt, source, values):
    kind = np.dtype(ml_dtypes.bfloat16) if source == "bfloat16" else np.dtype(source)
    x = np.array(values).astype(kind)
    runner = idle(tensor("x", "input", dt, source, x.shape, Seg.INPUT, 64))
    runner.run({"x": x})
    back = runner.read_tensor("x")
    assert back.dtype == kind
    np.testing.assert_array_equal(back, x)


def test_float32_is_rounded_to_bf16_to_nearest_even():
    x = np.array(
        [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, np.nan, 3.4e38, -0.0], np.float32
    )
    runner = idle(tensor("x", "input", Dt.BF16, "float32", x.shape, Seg.INPUT))
    runner.run({"x": x})
    want = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    same(
        runner.read_tensor("x"), np.where(np.isnan(x), np.uint32(0x7FC00000).view(np.float32), want)
    )


def test_strided_tensors():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    runner = idle(tensor("x", "input", Dt.F32, "float32", (2, 3), Seg.INPUT, 8, (4, 100)))
    runner.run({"x": x})
    words = runner.segment(Seg.INPUT).view(np.float32)
    assert words[[2, 3, 27, 28, 52, 53]].tolist() == [0, 3, 1, 4, 2, 5]
    np.testing.assert_array_equal(runner.read_tensor("x"), x)


def test_scalars_and_empty_tensors():
    runner = idle(
        tensor("s", "input", Dt.F32, "float32", (), Seg.INPUT),
        tensor("e", "output", Dt.F32, "float32", (0, 3), Seg.OUTPUT),
    )
    out = runner.run({"s": np.float32(4)})
    assert out["e"].shape == (0, 3)
    assert runner.read_tensor("s") == 4


@pytest.mark.parametrize(
    "inputs,text",
    [
        ({}, "input 'ids' is missing"),
        (
            {"ids": np.zeros(3, np.int64), "idz": 1},
            "no input 'idz'\n  at: program 'lab'\n  do: did you mean 'ids'?",
        ),
        ({"ids": np.zeros((3, 1), np.int64)}, "shape (3, 1); the program was compiled for (3,)"),
        (
            {"ids": np.array([0, 1, 1 << 31])},
            "values 0 … 2147483648; the chip holds -2147483648 … 2147483647",
        ),
        ({"ids": np.zeros(3, np.float32)}, "dtype float32 where integers are expected"),
        ({"ids": np.array(["a", "b", "c"])}, "dtype <U1 cannot be converted"),
        ({"ids": np.array([1, 2, None])}, "dtype object cannot be converted"),
    ],
)
def test_inputs_that_do_not_fit(inputs, text):
    with pytest.raises(InputError) as caught:
        idle(tensor("ids", "input", Dt.I32, "int64", (3,), Seg.INPUT)).run(inputs)
    assert text in str(caught.value)


def test_a_cache_is_optional_and_kept_between_runs():
    runner = idle(tensor("k", "kv", Dt.F32, "float32", (2,), Seg.KV))
    runner.run({})
    assert runner.read_tensor("k").tolist() == [0, 0]
    runner.run({"k": np.array([1, 2], np.float32)})
    runner.run({})
    assert runner.read_tensor("k").tolist() == [1, 2]
    runner.reset()
    assert runner.read_tensor("k").tolist() == [0, 0]
    with pytest.raises(InputError, match="did you mean 'k'"):
        runner.read_tensor("kk")


def test_tensors_outside_their_segment():
    runner = idle(tensor("x", "output", Dt.F32, "float32", (8,), Seg.OUTPUT, 4080))
    with pytest.raises(ProgramError, match="bytes 4080 … 4112 of segment OUTPUT, which has 4096"):
        runner.run({})


def test_constants_are_used_in_place_unless_something_writes_them():
    constant = np.arange(64, dtype=np.uint8)
    constant.setflags(write=False)
    store = StreamBuilder()
    store.store(l1(0), hbm(Seg.PARAM, 4), rows=1, row_bytes=4)
    sizes = (0, 64, 64, 0, 0, 0, 0, 0)
    made = program(
        {(Queue.STORE, ()): store},
        segment_bytes=sizes,
        constants={Seg.PARAM: constant, Seg.WEIGHT: constant},
    )
    runner = Machine(made, chip("athena-edge"))
    assert runner.segment(Seg.WEIGHT) is constant
    assert runner.segment(Seg.PARAM) is not constant
    runner.run({})
    assert runner.segment(Seg.PARAM)[:10].tolist() == [0, 1, 2, 3, 0, 0, 0, 0, 8, 9]
    short = program(
        {(Queue.STORE, ()): StreamBuilder()},
        segment_bytes=sizes,
        constants={Seg.WEIGHT: constant[:8]},
    )
    assert Machine(short, chip("athena-edge")).segment(Seg.WEIGHT)[6:10].tolist() == [6, 7, 0, 0]


def test_constants_and_segments_that_do_not_fit():
    builder = StreamBuilder()
    made = program({(Queue.LOAD, ()): builder}, constants={Seg.PARAM: np.zeros(9, np.uint8)})
    with pytest.raises(ProgramError, match="segment PARAM has 0 bytes, its constants 9"):
        Machine(made, chip("athena-edge"))
    made = program({(Queue.LOAD, ()): builder}, segment_bytes=(0, 0, 1 << 31, 0, 0, 0, 0, 0))
    with pytest.raises(CapacityError, match="1073741824 bytes of HBM"):
        Machine(made, chip("athena-edge"))


def test_host_calls_read_and_write_tensors_and_then_signal():
    host, load = StreamBuilder(), StreamBuilder()
    host.sync(waits=[Wait(1)])
    host.call(0, signals=[signal(Sig.ALL_CORES, 2)])
    load.sync(signals=[signal(Sig.CHIP, 1)])
    load.load(hbm(Seg.OUTPUT, 0), l1(0), rows=1, row_bytes=12, waits=[Wait(2)])
    call = HostCall(name="n", node=0, model=b"", inputs=("x", ""), outputs=("y",), flops=0, bytes=0)
    made = program(
        {(Queue.HOST, ()): host, (Queue.LOAD, ()): load},
        segment_bytes=(0, 0, 0, 0, 0, 64, 64, 0),
        host_calls=(call,),
        tensors=(
            tensor("x", "input", Dt.F32, "float32", (3,), Seg.INPUT),
            tensor("y", "output", Dt.F32, "float32", (3,), Seg.OUTPUT),
        ),
    )
    runner = Machine(made, chip("athena-edge"))
    x = np.array([1, 2, 3], np.float32)

    def square(asked, given):
        assert asked is call and list(given) == ["x"]
        return {"y": given["x"] ** 2}

    for seed in (None, 5):
        out = runner.run({"x": x}, host=square, order_seed=seed)
        np.testing.assert_array_equal(out["y"], x**2)
        np.testing.assert_array_equal(runner.l1(0)[:12].view(np.float32), x**2)
    with pytest.raises(ProgramError, match="no host was given"):
        runner.run({"x": x})
    with pytest.raises(ProgramError, match="the host gave no 'y'"):
        runner.run({"x": x}, host=lambda asked, given: {})


def test_the_trace_has_the_crc_of_every_words_bytes():
    load, vector, store = StreamBuilder(), StreamBuilder(), StreamBuilder()
    source = hbm(Seg.INPUT, 0, stride=32)
    load.load(source, l1(0, stride=40), rows=3, row_bytes=32, signals=[self_sem(0)])
    steps = Vec(alu1=Alu.MUL, b=imm(2.0))
    a, d = l1(0, stride=40, dt=Dt.F32), l1(512, stride=40, dt=Dt.BF16)
    vector.vec(a, d, steps, rows=3, cols=8, waits=[Wait(0)], signals=[self_sem(1)])
    store.store(
        l1(512, stride=40), hbm(Seg.OUTPUT, 0, stride=16), rows=3, row_bytes=16, waits=[Wait(1)]
    )
    made = program(
        {(Queue.LOAD, ()): load, (Queue.VECTOR, ()): vector, (Queue.STORE, ()): store},
        segment_bytes=(0, 0, 0, 0, 0, 4096, 4096, 0),
    )
    runner = Machine(made, chip("athena-edge"))
    x = np.arange(24, dtype=np.float32)
    runner.segment(Seg.INPUT)[:96] = x.view(np.uint8)
    runner.run({}, trace=True)
    doubled = (2 * x).astype(ml_dtypes.bfloat16).tobytes()
    assert runner.queues == (
        QueueId(Queue.STORE, 0),
        QueueId(Queue.LOAD, 0),
        QueueId(Queue.VECTOR, 0),
    )
    rows = {(q, i): (pc, crc) for q, i, pc, crc in runner.trace.tolist()}
    assert rows == {
        (1, 0): (0, zlib.crc32(x.tobytes())),
        (1, 1): (1, 0),
        (2, 0): (0, zlib.crc32(doubled)),
        (2, 1): (1, 0),
        (0, 0): (0, zlib.crc32(doubled)),
        (0, 1): (1, 0),
    }


def test_long_traces_are_complete():
    builder = StreamBuilder()
    with builder.loop(300), builder.loop(100):
        builder.fill(l1(0), rows=1, row_bytes=4, value=7)
    runner = Machine(program({(Queue.LOAD, ()): builder}), chip("athena-edge"))
    runner.run({}, trace=True)
    assert len(runner.trace) == 1 + 300 + 30000 + 1
    assert runner.trace[:, 1].tolist() == list(range(30302))
    assert set(runner.trace[:, 3].tolist()) == {0, zlib.crc32(b"\x07\0\0\0")}


def test_launch_scalars_are_checked():
    runner = idle()
    for bad in ({0: 1}, {14: 1}, {16: 0}, {3: 1 << 47}):
        with pytest.raises(ProgramError, match="launch scalar"):
            runner.run({}, scalars=bad)
