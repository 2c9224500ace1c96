"""Rows and files of measured points, made up for tests."""

import csv
import io
from dataclasses import replace

from simulator.studies.validation.points import Point

HEADER = [
    "id",
    "src",
    "quality",
    "hardware",
    "gpus",
    "tp",
    "pp",
    "ep",
    "dp",
    "pd_config",
    "model",
    "weights",
    "kv_dtype",
    "engine",
    "engine_version",
    "key_settings",
    "load_mode",
    "concurrency",
    "request_rate",
    "max_num_seqs",
    "max_num_batched_tokens",
    "num_prompts",
    "isl_nominal",
    "osl_nominal",
    "isl_mean",
    "osl_mean",
    "duration_s",
    "output_tps",
    "ttft_mean_ms",
    "tpot_mean_ms",
    "itl_median_ms",
    "avg_running",
    "avg_power_w",
    "unclear",
    "notes",
]

ROW = {
    "id": "made-up-1",
    "src": "made-up",
    "quality": "A",
    "hardware": "h100-sxm",
    "gpus": "1",
    "tp": "1",
    "model": "meta-llama/Llama-3.1-8B-Instruct",
    "weights": "BF16",
    "engine": "vLLM",
    "engine_version": "0.11.0",
    "load_mode": "all requests at t=0 (rate inf)",
    "request_rate": "inf",
    "max_num_seqs": "64",
    "num_prompts": "100",
    "isl_nominal": "500",
    "osl_nominal": "50",
    "isl_mean": "500",
    "osl_mean": "50",
    "output_tps": "2000",
    "itl_median_ms": "10",
}


def points_csv(*changes, drop=()):
    """A points file with one row for each of `changes` to `ROW`, ids counted up."""
    columns = [column for column in HEADER if column not in drop]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for number, change in enumerate(changes or ({},), start=1):
        writer.writerow(ROW | {"id": f"made-up-{number}"} | change)
    return text.getvalue()


POINT = Point(
    id="p",
    src="made-up",
    line=2,
    hardware="h100-sxm",
    gpus=1,
    tp=1,
    model="meta-llama/Llama-3.1-8B-Instruct",
    weights="BF16",
    engine="vLLM",
    engine_version="0.11.0",
    load_mode="all requests at t=0 (rate inf)",
    max_num_seqs=64,
    num_prompts=100,
    isl_nominal="500",
    osl_nominal="50",
    isl_mean=500.0,
    osl_mean=50.0,
    measured={"output_tps": 2000.0, "itl_median_ms": 10.0},
)

ML_ENERGY = replace(
    POINT,
    src="ml.energy-v3",
    quality="A",
    engine_version="0.11.1",
    key_settings="async_scheduling=True; max-model-len=20480; prefix caching default; ",
    load_mode="all num_prompts at t=0; server max_num_seqs = concurrency; "
    "output_tps/avg_running/power over steady window [...]; ITL over whole run",
    max_num_seqs=16,
    max_num_batched_tokens=8192,
    num_prompts=128,
    isl_nominal="LMArena chat prompts",
    osl_nominal="natural EOS (cap 4096)",
    isl_mean=None,
    osl_mean=200.0,
    notes="task lm-arena-chat; TP/EP: ...",
    measured={"output_tps": 1500.0, "itl_median_ms": 9.0, "avg_running": 15.9},
)
