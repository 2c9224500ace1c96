"""Results in the formats other tools read."""

from __future__ import annotations

from simulator.exports.parquet import write_parquet
from simulator.exports.provenance import collect_provenance
from simulator.exports.vllm_json import vllm_bench_result, write_json

__all__ = ["collect_provenance", "vllm_bench_result", "write_json", "write_parquet"]
