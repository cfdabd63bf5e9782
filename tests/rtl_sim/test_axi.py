"""The core in an SoC: AXI4 adapter, control registers, the whole of them with memory behind."""

import pytest

pytest.importorskip("cocotbext.axi", reason="pip install 'athena-npu[rtl]'")


def test_adapter(run_bench):
    run_bench("axi_adapter", "bench_axi_adapter", {"LoadTag": 16, "StoreTag": 16}, ports_only=True)


def test_whole(run_bench):
    run_bench("athena_axi", "bench_athena_axi", ports_only=True)
