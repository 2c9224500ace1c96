"""From a row of a points file to a pool and its traffic, by rules that know no row by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.config.experiment import PoolSettings
from simulator.config.resolve import resolve_pool
from simulator.cost import load_architecture
from simulator.errors import InputError
from simulator.studies.validation.lengths import Histograms, Lengths, Unknown, lengths_of
from simulator.studies.validation.load import (
    Unsupported,
    arrivals_of,
    first_reason,
    num_requests_of,
)
from simulator.studies.validation.points import Point
from simulator.studies.validation.prefixes import is_cache_missing, repeats_of
from simulator.studies.validation.server import ServerText, read_server_text
from workloads.arrivals import Arrivals

Engine = Literal["vllm", "sglang", "tensorrt-llm"]

# A GPU whose replica layout is not known is shared out such that this much of it is KV cache.
_LEAST_KV_SHARE = 0.25

_DTYPES = {
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "bf16",
    "float16": "bf16",
    "fp8": "fp8",
    "mxfp4": "mxfp4",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "awq-int4": "int4",
    "gptq-int4": "int4",
    "int4": "int4",
}
# Gaps much shorter than the time per token between them are an artefact of how chunks arrive.
_BUNCHED_SHARE = 0.1


@dataclass(frozen=True)
class Case:
    """A row as a simulation: the pool, its traffic, and what had to be taken for granted.

    `steady_seats`: measure as ml.energy does, between the first token of that many requests and
    the start of the run-down; None measures the whole run. `assumed` makes a result approximate,
    `remarks` only want to be known. `itl_comparable`: the client saw single tokens.
    `repeats`: each prompt was sent so many times, the list of all of them over and over.
    `cache_missing`: its engine cached prefixes, which is not modelled for its model.
    """

    pool: PoolSettings
    arrivals: Arrivals
    lengths: Lengths
    num_requests: int
    engine: Engine
    steady_seats: int | None = None
    assumed: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    itl_comparable: bool = True
    repeats: int = 1
    cache_missing: bool = False


def case_of(
    point: Point,
    histograms: Histograms | None = None,
    gpus: Mapping[str, GpuProfile] | None = None,
) -> Case:
    """Work out how to simulate a row. Raises `Unsupported` if that is not possible.

    `gpus` replaces profiles of the catalogue by name.
    """
    text = read_server_text(point)
    engine = _engine_of(point)
    _refuse(point, text)
    assumed: list[str] = []
    remarks: list[str] = []
    if engine != "vllm":
        assumed.append(f"{point.engine} simulated with vLLM's rules")
    preset = _preset_of(point, engine, assumed)
    seats = point.max_num_seqs or text.max_num_seqs
    try:
        lengths = lengths_of(point, histograms, seats or 256)
    except Unknown as missing:
        raise Unsupported(f"not said: {missing}") from None
    assumed += lengths.assumed
    model = _model_of(point)
    weights = _weight_dtype_of(point)
    cache_missing = is_cache_missing(model, preset, text)
    settings: dict[str, Any] = {
        "model": model,
        "gpu": _gpu_of(point, gpus),
        "weight_dtype": "auto" if _is_own_format(model, weights) else weights,
        "kv_cache_dtype": _kv_dtype_of(point, text, engine, weights),
        "engine": _engine_settings(point, text, preset, seats, cache_missing),
    }
    if (point.ep or 1) > 1 or text.expert_parallel:
        settings["enable_expert_parallel"] = True
    if text.piecewise:
        remarks.append("CUDA graphs PIECEWISE simulated as full ones")
    pool = _with_replicas(point, text, settings, gpus, assumed)
    arrivals, steady_seats = arrivals_of(point, seats)
    num_requests = num_requests_of(point, arrivals, lengths, assumed)
    return Case(
        pool=pool,
        arrivals=arrivals,
        lengths=lengths,
        num_requests=num_requests,
        engine=engine,
        steady_seats=steady_seats,
        assumed=tuple(assumed),
        remarks=tuple(remarks),
        repeats=repeats_of(point, num_requests),
        cache_missing=cache_missing,
        itl_comparable="use tpot" not in point.unclear.lower() and not _bunched(point),
    )


def _bunched(point: Point) -> bool:
    """Whether the client saw tokens in bunches: most gaps are next to nothing, a few hold all."""
    itl, tpot = (point.measured.get(f"{name}_median_ms") for name in ("itl", "tpot"))
    return itl is not None and tpot is not None and itl < _BUNCHED_SHARE * tpot


def load_profile(name: str, gpus: Mapping[str, GpuProfile] | None = None) -> GpuProfile:
    """The GPU profile `name` stands for, or what replaces it in `gpus`."""
    profile = load_gpu(name)
    return profile if gpus is None else gpus.get(profile.name, profile)


def _engine_of(point: Point) -> Engine:
    name = point.engine.lower()
    if "vllm" in name:
        return "vllm"
    if "sglang" in name:
        return "sglang"
    if "tensorrt" in name or "trt" in name or "nim" in name:
        return "tensorrt-llm"
    raise Unsupported(f"engine {point.engine} has no rules here")


def _refuse(point: Point, text: ServerText) -> None:
    if point.pd_config or "disaggregat" in point.engine.lower():
        raise Unsupported("prefill and decode on different replicas (PD disaggregation)")
    if text.speculative:
        raise Unsupported("speculative decoding")
    stages = point.pp or text.pipeline_parallel or 1
    if max(stages, text.pipeline_parallel or 1) > 1:
        raise Unsupported("pipeline parallelism")
    several = (point.ep or 1) > 1 or (point.dp or 1) > 1 or (point.tp or 1) > 1
    experts_everywhere = (point.ep or 1) > 1 and (point.dp or 1) > 1
    by_option = "dp-attention" in point.key_settings or "attention-DP" in point.key_settings
    if experts_everywhere or (text.attention_dp and several and ((point.ep or 1) > 1 or by_option)):
        raise Unsupported("attention data-parallel inside one engine (attention DP)")


def _preset_of(point: Point, engine: Engine, assumed: list[str]) -> str:
    """The engine preset nearest to the row's version: vllm-0.11 stands for 0.10 to 0.13."""
    if engine != "vllm":
        return "vllm-0.33"
    version = re.search(r"\b(\d+)\.(\d+)", point.engine_version)
    if version is None:
        assumed.append(f"vLLM {point.engine_version or 'of unknown version'} as vllm-0.33")
        return "vllm-0.33"
    release = int(version[1]), int(version[2])
    if release < (0, 10):
        raise Unsupported(f"vLLM {version[0]} is older than the rules known here (0.10)")
    return "vllm-0.11" if release <= (0, 13) else "vllm-0.33"


def _model_of(point: Point) -> str:
    """A name of the model that the catalogue knows: the row's, or that without its variant."""
    # a path on the machine it ran on; the folder is usually named as the model
    names = [point.model.rstrip("/").split("/")[-1] if point.model[:1] in "/.~" else point.model]
    for pattern in (r"-(FP8|AWQ|GPTQ|NVFP4|FP4|INT4)$", r"-\d{4}$", r"-(Instruct|chat|Chat)$"):
        names += [re.sub(pattern, "", name) for name in names]
    reason = ""
    for name in names:
        try:
            load_architecture(name)
        except InputError as error:
            refusal = first_reason(error)
            if not refusal.startswith("unknown model"):
                reason = reason or refusal
            continue
        return name
    raise Unsupported(reason or f"model not catalogued: {point.model}")


def _gpu_of(point: Point, gpus: Mapping[str, GpuProfile] | None) -> str:
    try:
        return load_profile(point.hardware, gpus).name
    except InputError as error:
        if not error.problems[0].message.startswith("unknown GPU"):
            raise  # a profile is broken
        raise Unsupported(f"GPU not catalogued: {point.hardware}") from None


def _weight_dtype_of(point: Point) -> str:
    word = re.match(r"[\w-]+", point.weights)
    dtype = _DTYPES.get(word[0].lower()) if word else None
    if dtype is None:
        raise Unsupported(f"weights in {point.weights}")
    return dtype


def _is_own_format(model: str, weights: str) -> bool:
    """Whether the checkpoint of that name is in the format already, some parts of it or all."""
    own = load_architecture(model).formats.all
    return weights in own or (weights == "fp8" and "fp8_block" in own)


def _kv_dtype_of(point: Point, text: ServerText, engine: Engine, weights: str) -> str:
    """fp8 where the row says so, and in NVIDIA's quantised checkpoints, which ask for it."""
    said = point.kv_dtype.lower()
    if "fp8" in said or text.fp8_kv:
        return "fp8"
    quantised = weights in ("fp8", "nvfp4")
    return "fp8" if not said and engine == "tensorrt-llm" and quantised else "auto"


def _engine_settings(
    point: Point, text: ServerText, preset: str, seats: int | None, cache_missing: bool
) -> dict[str, Any]:
    """The row's own settings; what is left out is as the release has it.

    vLLM to 0.13 admits a prompt by its first chunk. With a prefix cache, one that runs out of KV
    cache keeps its blocks, costs nothing and is not taken up again before its next chunk fits;
    without, the same chunks would be computed over and over. Where the cache is not modelled,
    admitting whole sequences, as later releases do, is nearest to it.
    """
    budget = point.max_num_batched_tokens or text.max_num_batched_tokens
    settings = {
        "preset": preset,
        "max_num_seqs": seats if budget is None or seats is None else min(seats, budget),
        "max_num_batched_tokens": budget,
        "max_model_len": text.max_model_len,
        "gpu_memory_utilization": text.gpu_memory_utilization,
        "num_gpu_blocks": text.num_gpu_blocks,
        "block_size": text.block_size,
        "scheduler_reserve_full_isl": True if cache_missing else None,
        "async_scheduling": text.async_scheduling,
        "enable_prefix_caching": False if text.prefix_caching is False else None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def _with_replicas(
    point: Point,
    text: ServerText,
    settings: dict[str, Any],
    gpus: Mapping[str, GpuProfile] | None,
    assumed: list[str],
) -> PoolSettings:
    """The pool of independent replicas that the row's GPUs make."""
    size = point.tp or text.tensor_parallel
    sizes = [size] if size is not None else [n for n in (1, 2, 4, 8) if point.gpus % n == 0]
    refusal = ""
    for tensor_parallel_size in sizes:
        replicas, left = divmod(point.gpus, tensor_parallel_size)
        if left:
            raise Unsupported(f"{point.gpus} GPUs do not make replicas of {tensor_parallel_size}")
        layout = {"tensor_parallel_size": tensor_parallel_size, "replicas": replicas}
        try:
            pool = PoolSettings.model_validate(settings | layout)
            resolved = resolve_pool("points", pool, gpu=load_profile(pool.gpu, gpus))
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            raise Unsupported(f"{where} {detail['input']}: {detail['msg']}") from None
        except InputError as error:
            refusal = first_reason(error)
            continue
        if size is None:
            memory = resolved.memory
            if memory is not None and memory.lines["KV"] < _LEAST_KV_SHARE * memory.lines["total"]:
                refusal = "too little KV cache"
                continue
            assumed.append(f"{replicas} replicas of {tensor_parallel_size} GPUs")
        return pool
    raise Unsupported(refusal)
