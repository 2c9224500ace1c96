"""From what a pool says to what its replicas are told: preset, GPU and model filled in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hardware_profiles.profile import GpuProfile, load_gpu
from simulator.config.experiment import EngineSettings, Experiment, PoolSettings
from simulator.config.presets import GIB, PRESETS, EnginePreset
from simulator.cost.architecture import Architecture
from simulator.cost.catalogue import load_architecture
from simulator.cost.gpu_support import kernel_refusals, kv_cache_refusals, weight_refusals
from simulator.cost.kv_groups import KvGroups, kv_groups
from simulator.cost.memory import KvCapacity, kv_capacity
from simulator.cost.sharding import TENSOR_PARALLEL_SIZES, shard
from simulator.engine.config import EngineConfig
from simulator.errors import InputError, Problem

T = TypeVar("T")


@dataclass(frozen=True)
class ResolvedPool:
    """A pool with nothing left to default.

    `memory` is how the KV cache came out of the GPU's memory, None where the experiment sets
    `num_gpu_blocks`. `notes` say what a reader of the results must know: features not
    modelled, contexts cut short, figures that are examples. They follow from what came out, so
    that a resolved experiment has the same ones.
    """

    name: str
    settings: PoolSettings
    architecture: Architecture
    gpu: GpuProfile
    engine: EngineConfig
    memory: KvCapacity | None
    price_usd_per_gpu_hour: float
    notes: tuple[str, ...]


def resolve_pool(name: str, pool: PoolSettings, *, gpu: GpuProfile | None = None) -> ResolvedPool:
    """Work out the engine configuration of `pool` as vLLM's start-up does.

    `gpu` takes the place of the profile that the pool names, to try other constants.
    Raises `InputError` with every problem found, `field` being the dotted path in the experiment:
    an unknown model or GPU, a model that does not fit the GPUs, a tensor_parallel_size that does
    not divide the model, budgets or lengths that vLLM refuses, a feature not modelled yet.
    """
    at = f"pools.{name}"
    problems: list[Problem] = []
    architecture = _load(problems, f"{at}.model", pool.model, load_architecture)
    if gpu is None:
        gpu = _load(problems, f"{at}.gpu", pool.gpu, load_gpu)
    problems += _fit_problems(at, pool, architecture, gpu)
    if architecture is None or gpu is None or problems:
        raise InputError(problems)
    draft = _draft(pool.engine, architecture, gpu)
    problems += _budget_problems(at, draft)
    memory = None
    if draft["num_gpu_blocks"] is None:
        memory = _collect(
            problems, f"{at}.model", lambda: _capacity(pool, draft, architecture, gpu)
        )
        if memory is None:
            raise InputError(problems)
        draft["num_gpu_blocks"] = memory.num_gpu_blocks
    _settle_lengths(pool.engine, draft, kv_groups(architecture))
    draft |= _kv_costs(pool, architecture, gpu)
    if draft["preemption"] != "recompute" and draft["host_kv_tokens"] == 0:
        message = f"preemption {draft['preemption']} needs host memory to keep KV in"
        problems.append(Problem(message, field=f"{at}.engine.host_kv_gib"))
    offloads = pool.engine.scheduler.build().offloads
    if offloads and draft["host_kv_tokens"] == 0:
        message = f"{pool.engine.scheduler.kind} offloads KV to host memory: give it some"
        problems.append(Problem(message, field=f"{at}.engine.host_kv_gib"))
    engine = _collect(problems, f"{at}.engine", lambda: EngineConfig(**draft))
    if engine is None or problems:
        raise InputError(problems)
    price = pool.price_usd_per_gpu_hour
    if price is None:
        price = gpu.price.si
    notes = (
        *_prefix_cache_notes(pool.engine, architecture),
        *_idle_option_notes(pool.engine, engine, offloads),
        *_figure_notes(architecture, gpu, engine, price),
    )
    return ResolvedPool(name, pool, architecture, gpu, engine, memory, price, notes)


def resolve_pools(experiment: Experiment) -> tuple[ResolvedPool, ...]:
    """Every pool of an experiment, in its order. Raises `InputError` with the problems of all."""
    problems: list[Problem] = []
    found = []
    for name, pool in experiment.pools.items():
        try:
            found.append(resolve_pool(name, pool))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return tuple(found)


def resolved(experiment: Experiment) -> Experiment:
    """The same experiment with every engine option written out, so that it outlives its preset.

    `num_gpu_blocks` stays open where memory decides it. Raises `InputError` as
    `resolve_pools` does.
    """
    pools = {}
    for result in resolve_pools(experiment):
        pool = result.settings
        preset = PRESETS[pool.engine.preset]
        filled = {field: getattr(result.engine, field) for field in _SETTINGS_OF_ENGINE}
        filled["gpu_memory_utilization"] = _chosen(pool.engine, preset, "gpu_memory_utilization")
        engine = pool.engine.model_copy(update=filled)
        price = result.price_usd_per_gpu_hour
        update = {"engine": engine, "price_usd_per_gpu_hour": price}
        pools[result.name] = pool.model_copy(update=update)
    changes: dict[str, Any] = {"pools": pools}
    return experiment.model_copy(update=changes)


_SETTINGS_OF_ENGINE = sorted(
    set(EngineConfig.__dataclass_fields__) & set(EngineSettings.model_fields) - {"num_gpu_blocks"}
)


def _draft(settings: EngineSettings, architecture: Architecture, gpu: GpuProfile) -> dict[str, Any]:
    """Arguments of `EngineConfig` before the KV cache is known; `num_gpu_blocks` may be None.

    Follows `EngineArgs._set_default_max_num_seqs_and_batched_tokens_args` of vLLM: default budgets
    are raised to a whole prompt where prompts cannot be chunked, and bounded by each other.
    """
    preset = PRESETS[settings.preset]
    draft = {field: _chosen(settings, preset, field) for field in _SETTINGS_OF_ENGINE}
    draft |= preset.rules
    if draft["batching"] == "prefill_first" and settings.enable_chunked_prefill is None:
        draft["enable_chunked_prefill"] = False
    draft["num_gpu_blocks"] = settings.num_gpu_blocks
    if settings.enable_prefix_caching is None and rules_out_prefix_caching(settings, architecture):
        draft["enable_prefix_caching"] = False
    groups = kv_groups(architecture)
    draft |= {
        "window_tokens": groups.window_tokens,
        "kv_groups_full": groups.full,
        "kv_groups_window": groups.window,
    }
    longest = settings.max_model_len or architecture.max_position_embeddings
    draft["max_model_len"] = longest
    default = preset.budget(gpu.name, gpu.hardware.usable_memory.si)
    seqs = settings.max_num_seqs or default.max_num_seqs
    budget = settings.max_num_batched_tokens
    if budget is None:
        budget = default.max_num_batched_tokens
        if not draft["enable_chunked_prefill"]:
            budget = max(budget, longest)
        budget = min(budget, seqs * longest)
    draft["max_num_batched_tokens"] = budget
    draft["max_num_seqs"] = seqs if settings.max_num_seqs else min(seqs, budget)
    return draft


def _settle_lengths(settings: EngineSettings, draft: dict[str, Any], groups: KvGroups) -> None:
    """Lower a defaulted `max_model_len` to what the KV cache can hold of one request."""
    holds = groups.longest_request(draft["num_gpu_blocks"] - 1, draft["block_size"])
    if settings.max_model_len is None and holds is not None and holds >= 1:
        draft["max_model_len"] = min(draft["max_model_len"], holds)


def _chosen(settings: EngineSettings, preset: EnginePreset, field: str) -> Any:
    given = getattr(settings, field)
    return preset.fields.get(field) if given is None else given


def _capacity(
    pool: PoolSettings, draft: dict[str, Any], architecture: Architecture, gpu: GpuProfile
) -> KvCapacity:
    preset = PRESETS[pool.engine.preset]
    return kv_capacity(
        architecture,
        gpu,
        tensor_parallel_size=pool.tensor_parallel_size,
        weight_dtype=pool.weight_dtype,
        kv_cache_dtype=pool.kv_cache_dtype,
        gpu_memory_utilization=_chosen(pool.engine, preset, "gpu_memory_utilization"),
        max_num_batched_tokens=draft["max_num_batched_tokens"],
        max_num_seqs=draft["max_num_seqs"],
        block_size=draft["block_size"],
        enable_expert_parallel=pool.enable_expert_parallel,
        engine_generation=preset.name,
    )


def rules_out_prefix_caching(settings: EngineSettings, architecture: Architecture) -> str | None:
    """Why prefix caching, a default of the preset, stays off; None if nothing is in its way."""
    groups = kv_groups(architecture)
    if groups.window > 0 or groups.full > 1:
        return "is not modelled for models with several groups of layers in their KV cache"
    if settings.batching == "static":
        return "has no part in static batching"
    if settings.kv_compression is not None:
        return "is off: compressed KV cannot be shared"
    return None


def _kv_costs(pool: PoolSettings, architecture: Architecture, gpu: GpuProfile) -> dict[str, Any]:
    """What the engine is told of host memory and of KV compression.

    A token takes its bytes over PCIe, in one direction; every GPU moves its own part over its own
    link. Choosing what KV to keep reads the cache in GPU memory so many times.
    """
    compression = pool.engine.kv_compression
    formats = architecture.formats_as(pool.weight_dtype)
    part = shard(architecture, pool.tensor_parallel_size, pool.enable_expert_parallel, formats)
    token_bytes = part.kv_bytes_per_token(pool.kv_cache_dtype)
    room_bytes = pool.engine.host_kv_gib * GIB
    costs: dict[str, Any] = {
        "host_kv_tokens": int(room_bytes // (token_bytes * pool.tensor_parallel_size)),
        "host_token_s": token_bytes / gpu.hardware.pcie_bandwidth.si,
    }
    if compression is not None:
        pass_s = token_bytes / gpu.hardware.memory_bandwidth.si
        costs |= {
            "kv_budget_tokens": compression.budget_tokens or 0,
            "kv_budget_frac": compression.budget_frac or 0.0,
            "kv_compression_interval": compression.interval_iterations,
            "kv_compression_token_s": compression.passes * pass_s,
        }
    return costs


def _fit_problems(
    at: str, pool: PoolSettings, architecture: Architecture | None, gpu: GpuProfile | None
) -> list[Problem]:
    """Settings that this model or this GPU cannot have, whatever the memory."""
    problems: list[Problem] = []
    tp, expert_parallel = pool.tensor_parallel_size, pool.enable_expert_parallel
    at_tp = f"{at}.tensor_parallel_size"
    if architecture is not None:
        formats = architecture.formats_as(pool.weight_dtype)
        no_experts = expert_parallel and architecture.experts is None
        at_split = f"{at}.enable_expert_parallel" if no_experts else at_tp
        _collect(problems, at_split, lambda: shard(architecture, tp, expert_parallel, formats))
        longest = architecture.max_position_embeddings
        if pool.engine.max_model_len is not None and pool.engine.max_model_len > longest:
            message = f"{pool.engine.max_model_len} is more than the model can: {longest} tokens"
            problems.append(Problem(message, field=f"{at}.engine.max_model_len"))
    if gpu is not None:
        refusals = {
            f"{at}.weight_dtype": weight_refusals(architecture, gpu, pool.weight_dtype),
            f"{at}.kv_cache_dtype": kv_cache_refusals(gpu, pool.kv_cache_dtype),
        }
        if architecture is not None:
            refusals[f"{at}.gpu"] = kernel_refusals(architecture, gpu, pool.weight_dtype)
        for field, reasons in refusals.items():
            problems += [Problem(reason, field=field) for reason in reasons]
        if tp in TENSOR_PARALLEL_SIZES[1:] and tp not in gpu.kernels.all_reduce:
            message = f"the profile of {gpu.name} has no collectives of {tp} GPUs"
            problems.append(Problem(message, field=at_tp))
    return problems


def _budget_problems(at: str, draft: dict[str, Any]) -> list[Problem]:
    budget, seqs = draft["max_num_batched_tokens"], draft["max_num_seqs"]
    if budget >= seqs:
        return []
    message = f"{budget} is below max_num_seqs {seqs}: not even one token for each request"
    return [Problem(message, field=f"{at}.engine.max_num_batched_tokens")]


def _prefix_cache_notes(settings: EngineSettings, architecture: Architecture) -> list[str]:
    """That the preset's release would cache prefixes by default, and this run does not."""
    reason = rules_out_prefix_caching(settings, architecture)
    if reason is None:
        return []
    return [f"{settings.preset} caches prefixes by default; that {reason}"]


def _idle_option_notes(settings: EngineSettings, engine: EngineConfig, offloads: bool) -> list[str]:
    """Options that were given and change nothing."""
    notes = []
    kind = settings.scheduler.kind
    if engine.host_kv_tokens and engine.preemption == "recompute" and not offloads:
        notes.append(
            f"host_kv_gib is not used: preemption is recompute, and scheduler {kind} does not say"
            " that it offloads KV"
        )
    default = PRESETS[settings.preset].fields["checkpoint_tokens"]
    if engine.preemption != "checkpoint" and engine.checkpoint_tokens != default:
        notes.append(f"checkpoint_tokens is not used: preemption is {engine.preemption}")
    return notes


def _figure_notes(
    architecture: Architecture, gpu: GpuProfile, engine: EngineConfig, price: float
) -> list[str]:
    """Which figures are less than the model could do, not measured, or only an example."""
    notes = []
    longest = architecture.max_position_embeddings
    if engine.max_model_len < longest:
        notes.append(
            f"max_model_len is {engine.max_model_len} tokens, of the {longest} the model could take"
        )
    if not gpu.calibrated:
        notes.append(f"the profile of {gpu.name} is not calibrated: see docs/validation.md")
    if price == gpu.price.si:
        notes.append(f"${price:g} per GPU-hour is an example price; set price_usd_per_gpu_hour")
    return notes


def names_a_file(value: str) -> bool:
    """Whether `model` or `gpu` is a path; a name may hold a slash too (Hugging Face ids)."""
    return value.endswith((".json", ".yaml", ".yml")) or value.startswith((".", "/", "~"))


def _load(problems: list[Problem], field: str, value: str, load: Callable[[str], T]) -> T | None:
    try:
        if names_a_file(value) and not Path(value).exists():
            problems.append(Problem(f"no such file: {value}", field=field))
            return None
        return _collect(problems, field, lambda: load(value))
    except OSError as error:  # a name that is too long, a directory that may not be entered
        problems.append(Problem(f"cannot be read: {error.strerror}", field=field))
        return None


def _collect(problems: list[Problem], field: str, call: Callable[[], T]) -> T | None:
    """The result of `call`, or None after noting its problems as being about `field`.

    A problem that names a field of its own keeps it below `field`; one in a file keeps the file.
    """
    try:
        return call()
    except InputError as error:
        for problem in error.problems:
            if problem.file is None:
                inner = f"{field}.{problem.field}" if problem.field else field
                problem = replace(problem, field=inner)
            problems.append(problem)
        return None
