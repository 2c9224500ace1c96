"""The shape of an experiment file: one frozen pydantic model per mapping of the YAML.

The models hold what the user wrote and check single values. What needs the model's architecture or
the GPU's memory is worked out in `simulator.config.resolve`. Field descriptions are what editors
show, through the JSON Schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from simulator.admission import ADMISSIONS, Admission
from simulator.config.policies import PolicySettings
from simulator.config.presets import DEFAULT_PRESET
from simulator.config.quality import PoolQuality
from simulator.core_yaml import dump_yaml
from simulator.cost.number_formats import KvCacheDtype, WeightDtype
from simulator.engine.config import Batching, Preemption
from simulator.errors import InputError, Problem
from simulator.predictors import PREDICTORS, Predictor
from simulator.routers import ROUTERS, Router
from simulator.schedulers import SCHEDULERS, Scheduler
from simulator.settings import Settings
from simulator.strategies import STRATEGIES, Strategy
from workloads.batch import MAX_REQUESTS
from workloads.kinds import AnyWorkload
from workloads.slo import Slo

PoolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
# Names the default result directory, so it must be a safe file name.
ExperimentName = Annotated[str, StringConstraints(pattern=r"^\w[\w .+-]{0,99}$")]

# Beyond any engine in use; a slip of the keyboard should not fill memory with cost tables.
MAX_SEQS = 2**16
MAX_BLOCK_SIZE = 2**16
MAX_BATCHED_TOKENS = 2**20
MAX_REPLICAS = 20_000
MAX_INT = 2**31 - 1
MAX_SEED = 2**63 - 1


class SchedulerSettings(PolicySettings):
    """The order in which a replica serves its requests. May be written as just the kind."""

    registry = SCHEDULERS
    base = Scheduler
    default = "fcfs"


class PredictorSettings(PolicySettings):
    """Who guesses how long requests will think. May be written as just the kind."""

    registry = PREDICTORS
    base = Predictor
    default = "none"


class AdmissionSettings(PolicySettings):
    """Which requests are turned away at their arrival. May be written as just the kind."""

    registry = ADMISSIONS
    base = Admission
    default = "none"


class KvCompression(Settings):
    """A budget for the KV cache of each decoding request, in tokens or as a part, as of R-KV.

    What it does to answers is the quality model's business.
    """

    budget_tokens: int | None = Field(None, ge=1, le=MAX_INT)
    """KV tokens that a request keeps."""
    budget_frac: float | None = Field(None, gt=0, lt=1)
    """Part of its tokens so far whose KV a request keeps."""
    interval_iterations: int = Field(128, ge=1, le=MAX_INT)
    """Compress when the replica's count of iterations is a multiple of this."""
    passes: float = Field(3.0, ge=0, le=1000)
    """What choosing costs: the KV of a request is read or written so many times in GPU memory."""

    @model_validator(mode="after")
    def _one_budget(self) -> KvCompression:
        if (self.budget_tokens is None) == (self.budget_frac is None):
            raise ValueError("give either budget_tokens or budget_frac")
        return self


class EngineSettings(Settings):
    """Options of each replica's engine, under vLLM's names; the preset gives what is left out."""

    preset: Literal["vllm-0.11", "vllm-0.33"] = DEFAULT_PRESET
    """Engine release whose rules and defaults apply; any field below overrides it."""
    max_num_seqs: int | None = Field(None, ge=1, le=MAX_SEQS)
    """Most requests in one iteration. Default: by GPU memory, as `vllm serve` chooses."""
    max_num_batched_tokens: int | None = Field(None, ge=1, le=MAX_BATCHED_TOKENS)
    """Token budget of one iteration. Default: by GPU memory, as `vllm serve` chooses."""
    max_model_len: int | None = Field(None, ge=2, le=MAX_INT)
    """Most tokens (prompt + output) of one request. Default: the model's
    max_position_embeddings, lowered to what the KV cache holds."""
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1)
    """Fraction of GPU memory the engine may use for weights, activations and KV cache."""
    num_gpu_blocks: int | None = Field(None, ge=2, le=MAX_INT)
    """KV blocks per replica, one of them never usable; overrides the memory computation."""
    block_size: int | None = Field(None, ge=1, le=MAX_BLOCK_SIZE)
    """Tokens per KV block."""
    enable_chunked_prefill: bool | None = None
    """Let a prompt be computed in several iterations, next to decodes."""
    watermark: float | None = Field(None, ge=0, lt=1)
    """Fraction of the KV blocks an admission must leave free while others run."""
    scheduler_reserve_full_isl: bool | None = None
    """Admit a request only if its whole known sequence fits in the KV cache, not only its first
    chunk."""
    long_prefill_token_threshold: int | None = Field(None, ge=0, le=MAX_INT)
    """Most prompt tokens of one request in one iteration; 0 means no limit."""
    long_prefill_token_threshold_adaptive: bool | None = None
    """Raise that limit to an equal share of the token budget when few requests are present."""
    max_num_active_seqs: int | None = Field(None, ge=1, le=MAX_SEQS)
    """Most requests running at once, if lower than max_num_seqs."""
    prefill_schedule_interval: int | None = Field(None, ge=1, le=MAX_INT)
    """Let prefill into at most every n-th iteration."""
    scheduler: SchedulerSettings = SchedulerSettings(kind="fcfs")
    """Order in which requests are served (`ponder schedulers`)."""
    batching: Batching | None = None
    """How iterations are formed: chunked_prefill = prompts in chunks next to decodes (vLLM V1);
    prefill_first = whole prompts before any decode (vLLM V0, Orca); static = a batch is served to
    its end before the next one is formed."""
    preemption: Preemption | None = None
    """What becomes of a preempted request's KV cache: recompute; swap = copied to host memory and
    back; checkpoint = copied there in whole chunks while it is computed, the rest recomputed."""
    checkpoint_tokens: int | None = Field(None, ge=1, le=MAX_INT)
    """Tokens in a chunk of a checkpoint."""
    host_kv_gib: float = Field(0.0, ge=0, le=2**20)
    """Host memory for KV cache, GiB per replica."""
    stepping: Literal["span", "iteration"] = "span"
    """span = jump from change to change; iteration = every iteration by itself: same times,
    slower, for checking."""
    async_scheduling: bool | None = None
    """Decide each iteration when the one before it starts on the GPU."""
    enable_prefix_caching: bool | None = None
    """Find full KV blocks that are still there again by what they hold: shared prompts, earlier
    turns, and what a preempted request had. Default: as the preset's release, which is true."""
    kv_compression: KvCompression | None = None
    """Cut the KV cache of long requests to a budget."""


class PoolSettings(Settings):
    """Replicas of one model with one configuration."""

    model: str = Field(min_length=1)
    """Catalogue name (`ponder models`), an alias such as the Hugging Face id, or the path of a
    config.json, relative to the experiment file."""
    gpu: str = Field(min_length=1)
    """Catalogue name (`ponder gpus`) or the path of a GPU profile, relative to the experiment
    file."""
    replicas: int = Field(1, ge=1, le=MAX_REPLICAS)
    """Engine instances, each on tensor_parallel_size GPUs."""
    tensor_parallel_size: int = Field(1, ge=1)
    """GPUs one replica is sharded over."""
    enable_expert_parallel: bool = False
    """Spread whole experts over the GPUs instead of a slice of each; the rest of the model stays
    tensor parallel."""
    weight_dtype: WeightDtype = "auto"
    """Number format of the weights; auto is that of the checkpoint (its quantization_config)."""
    kv_cache_dtype: KvCacheDtype = "auto"
    """Number format of the KV cache; auto is bf16."""
    price_usd_per_gpu_hour: float | None = Field(None, ge=0)
    """Price of one GPU for one hour, in US dollars. Default: the GPU profile's."""
    engine: EngineSettings = EngineSettings()
    """Engine options."""
    quality: PoolQuality | None = None
    """How often the model is right (`ponder quality list`); null: answers are not judged."""

    @property
    def num_gpus(self) -> int:
        """GPUs of the whole pool."""
        return self.replicas * self.tensor_parallel_size


class RouterSettings(PolicySettings):
    """Which replica gets a request. May be written as just the kind."""

    registry = ROUTERS
    base = Router
    default = "round_robin"


class StrategySettings(PolicySettings):
    """How a query spends test-time compute. May be written as just the kind."""

    registry = STRATEGIES
    base = Strategy
    default = "single"


class Measure(Settings):
    """Which part of the run the results describe, in seconds or in requests."""

    warmup_s: float | None = Field(None, ge=0)
    """Simulated seconds before measuring starts."""
    window_s: float | None = Field(None, gt=0)
    """Simulated seconds measured after the warm-up; null means to the end."""
    drain_s: float | None = Field(None, ge=0)
    """Simulated seconds granted after the window to requests that arrived in it; null means until
    all have finished."""
    warmup_requests: int | None = Field(None, ge=0, le=MAX_REQUESTS)
    """Requests that arrive before measuring starts."""
    window_requests: int | None = Field(None, ge=1, le=MAX_REQUESTS)
    """Requests measured after the warm-up; null means all the others."""

    @model_validator(mode="after")
    def _one_unit(self) -> Measure:
        if self.by_requests and (self.warmup_s is not None or self.window_s is not None):
            raise ValueError(
                "give either warmup_s and window_s or warmup_requests and window_requests"
            )
        return self

    @property
    def by_requests(self) -> bool:
        """Whether the window is counted in requests."""
        return self.warmup_requests is not None or self.window_requests is not None

    @property
    def num_requests(self) -> int | None:
        """Requests that must arrive to fill a window counted in requests; None if open."""
        if self.window_requests is None:
            return None
        return (self.warmup_requests or 0) + self.window_requests


class Experiment(Settings):
    """One experiment: what is served, by what, for which requests, and what is measured.

    Paths in it are absolute when it comes from `load_experiment`; otherwise they are relative to
    the working directory.
    """

    name: ExperimentName
    """Name of the experiment; the default result directory is results/<name>-seed<seed>."""
    seed: int = Field(0, ge=0, le=MAX_SEED)
    """Seed of every random stream: same experiment, same seed, same result."""
    pools: dict[PoolName, PoolSettings] = Field(min_length=1)
    """The pools of the cluster by name, all behind one router."""
    router: RouterSettings = RouterSettings(kind="round_robin")
    """Which replica gets a request."""
    predictor: PredictorSettings = PredictorSettings(kind="none")
    """What schedulers, routers and admission control are told of output lengths."""
    admission: AdmissionSettings = AdmissionSettings(kind="none")
    """Which requests are turned away at their arrival; they count against goodput."""
    strategy: StrategySettings = StrategySettings(kind="single")
    """How queries spend test-time compute (`ponder strategies`)."""
    strategies: dict[str, StrategySettings] = Field(default_factory=dict)
    """The strategies of classes that have their own."""
    workload: AnyWorkload
    """The requests: drawn from laws, or read from a trace."""
    measure: Measure = Measure()
    """Which part of the run is measured; default: everything."""
    slo: Slo = Slo()
    """Latency targets for goodput."""
    timeline_interval_s: float | None = Field(None, gt=0)
    """Simulated seconds between rows of the timeline; null chooses from the length of the run."""
    calibration_draws: int = Field(0, ge=0, le=1000)
    """Run it so many times more under iteration times drawn from the residuals of the GPU profile's
    fits, and give the figures bands of expected error."""

    def one_pool(self, name: str | None = None) -> tuple[str, PoolSettings]:
        """The pool called `name`, or the only one, with its name.

        Raises `InputError` if there is no such pool, or none is named and there are several.
        """
        known = ", ".join(self.pools)
        if name is None and len(self.pools) > 1:
            raise InputError(Problem(f"one pool is needed here, not {known}", field="pools"))
        if name is not None and name not in self.pools:
            raise InputError(Problem(f"there is no pool {name!r}; known: {known}", field="pools"))
        chosen = next(iter(self.pools)) if name is None else name
        return chosen, self.pools[chosen]

    @property
    def policy_files(self) -> list[Path]:
        """The files that policies come from, in the order in which the experiment names them."""
        schedulers = [pool.engine.scheduler for pool in self.pools.values()]
        strategies = (self.strategy, *self.strategies.values())
        policies = (*schedulers, self.router, self.predictor, self.admission, *strategies)
        paths = dict.fromkeys(policy.path for policy in policies)
        return [path for path in paths if path is not None]

    @property
    def base_dir(self) -> Path:
        """Directory that relative paths in this experiment refer to."""
        return Path.cwd()

    @property
    def arrivals_duration_s(self) -> float | None:
        """Seconds for which requests must arrive to fill the measuring window; None if open."""
        if self.measure.window_s is None:
            return None
        return (self.measure.warmup_s or 0.0) + self.measure.window_s

    def to_dict(self) -> dict[str, Any]:
        """Plain data (dict, list, str, numbers, None) that loads again to an equal experiment."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """`to_dict` as the text of an experiment file."""
        return dump_yaml(self.to_dict())
