"""The attention kernels this machine has, best first; each must match a float32 reference.

A back end gets a `Paged` problem and returns a function that launches it, everything an engine
prepares once per step (split plans, scales) done. One that cannot be imported, fails or computes
something else is passed over, with the reason in the table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from hardware_profiles.measuring.paged import Paged, block_tables, cache_dtype, gather, reference
from hardware_profiles.measuring.session import Session

TOLERANCE = {"bf16": 0.015, "fp8": 0.08}  # relative L2 error; fp8 kernels round the softmax too
VLLM_GRAPH_SPLITS = 32  # vLLM's flash_attn_max_num_splits_for_cuda_graph


class Backend:
    """One way to compute attention. `page_size`: tokens per KV page it is given."""

    key: ClassVar[str]
    page_size: ClassVar[int] = 16
    kinds: ClassVar[tuple[str, ...]] = ("decode", "prefill")
    kv_dtypes: tuple[str, ...] = ("bf16",)
    prefix: ClassVar[bool] = True  # prefill may follow cached tokens

    def __init__(self, session: Session) -> None:
        self.torch = session.torch
        self.device = session.device
        self.name = f"{self.key} {self.load()}".strip()

    def load(self) -> str:
        """Import what is needed (ImportError if it is not there); returns its version."""
        raise NotImplementedError

    def bind(self, problem: Paged) -> Callable[[], Any]:
        """A launch of `problem` that returns the output [batch * new, heads.q, heads.dim]."""
        raise NotImplementedError

    def _starts(self, problem: Paged) -> Any:
        count, device = problem.batch + 1, self.device
        return problem.new * self.torch.arange(count, device=device, dtype=self.torch.int32)


class VllmFlashAttention(Backend):
    """The kernels vLLM ships, called as its engine does (plan made ahead, 32 splits at most)."""

    key = "vllm_flash_attn"
    kv_dtypes: tuple[str, ...] = ("bf16", "fp8")

    def load(self) -> str:
        """FlashAttention 3 on Hopper, 2 elsewhere."""
        self.module = importlib.import_module("vllm.vllm_flash_attn")
        interface = importlib.import_module("vllm.vllm_flash_attn.flash_attn_interface")
        hopper = self.torch.cuda.get_device_capability()[0] == 9
        self.fa = 3 if hopper and interface.FA3_AVAILABLE else 2
        if self.fa == 2:
            if not interface.FA2_AVAILABLE:
                raise ImportError("vllm_flash_attn holds no kernel for this GPU")
            self.kv_dtypes = ("bf16",)
        return f"FA{self.fa} of vllm {_version('vllm')}"

    def bind(self, problem: Paged) -> Callable[[], Any]:
        """Paged attention with variable lengths; q in fp8 too if the cache is."""
        torch, heads = self.torch, problem.heads
        starts = self._starts(problem)
        q, options = problem.q, {}
        if problem.k.dtype == torch.float8_e4m3fn:
            q = q.to(torch.float8_e4m3fn)
            one = torch.ones(problem.batch, heads.kv, device=self.device, dtype=torch.float32)
            options = {"q_descale": one, "k_descale": one, "v_descale": one}
        if self.fa == 3:
            # As in vLLM: decode runs inside a CUDA graph, prefill does not.
            splits = VLLM_GRAPH_SPLITS if problem.new == 1 else 0
            options["num_splits"] = splits
            options["scheduler_metadata"] = self.module.get_scheduler_metadata(
                batch_size=problem.batch,
                max_seqlen_q=problem.new,
                max_seqlen_k=problem.max_length,
                num_heads_q=heads.q,
                num_heads_kv=heads.kv,
                headdim=heads.dim,
                cache_seqlens=problem.lengths,
                qkv_dtype=q.dtype,
                cu_seqlens_q=starts,
                page_size=problem.k.shape[1],
                causal=True,
                num_splits=splits,
            )
        out = torch.empty_like(problem.q)

        def run() -> Any:
            return self.module.flash_attn_varlen_func(
                q=q,
                k=problem.k,
                v=problem.v,
                out=out,
                cu_seqlens_q=starts,
                max_seqlen_q=problem.new,
                seqused_k=problem.lengths,
                max_seqlen_k=problem.max_length,
                softmax_scale=problem.scale,
                causal=True,
                block_table=problem.tables,
                fa_version=self.fa,
                **options,
            )

        return run


class FlashAttention3(Backend):
    """The `flash_attn_interface` module of FlashAttention's Hopper build."""

    key = "flash_attn_3"
    table_argument = "page_table"

    def load(self) -> str:
        """The module and the version of whichever package brought it."""
        self.call = importlib.import_module("flash_attn_interface").flash_attn_with_kvcache
        return _version("flash_attn_3", "flash-attn-3", "tokenspeed-fa3")

    def bind(self, problem: Paged) -> Callable[[], Any]:
        """flash_attn_with_kvcache over a block table."""
        heads = problem.heads
        q = problem.q.view(problem.batch, problem.new, heads.q, heads.dim)
        tables = {self.table_argument: problem.tables}

        def run() -> Any:
            out = self.call(
                q,
                problem.k,
                problem.v,
                cache_seqlens=problem.lengths,
                softmax_scale=problem.scale,
                causal=True,
                **tables,
            )
            return out.view(-1, heads.q, heads.dim)

        return run


class FlashAttention2(FlashAttention3):
    """The `flash_attn` package; its pages hold 256 tokens."""

    key = "flash_attn"
    page_size = 256
    table_argument = "block_table"

    def load(self) -> str:
        """The package and its version."""
        self.call = importlib.import_module("flash_attn").flash_attn_with_kvcache
        return _version("flash_attn", "flash-attn")


class TritonSplit(Backend):
    """ponder's own split-KV kernel; decode only."""

    key = "triton_splitkv (ponder)"
    kinds = ("decode",)
    kv_dtypes = ("bf16", "fp8")

    def load(self) -> str:
        """Triton and its version."""
        if self.device != "cuda":
            raise ImportError("needs a GPU")
        self.kernel = importlib.import_module("hardware_profiles.measuring.triton_decode")
        return f"triton {_version('triton')}"

    def bind(self, problem: Paged) -> Callable[[], Any]:
        """Stretches of one size, so that long sequences don't hold up a ragged batch."""
        torch, heads = self.torch, problem.heads
        count = torch.cuda.get_device_properties(0).multi_processor_count
        total = int(problem.lengths.sum())
        stretch = self.kernel.choose_stretch(total, problem.max_length, heads.kv, count)
        splits = -(-problem.max_length // stretch)
        out = torch.empty_like(problem.q)
        shape = (problem.batch, heads.q, splits)
        part = torch.empty(*shape, heads.dim, device=self.device, dtype=torch.float32)
        lse = torch.empty(shape, device=self.device, dtype=torch.float32)

        def run() -> Any:
            self.kernel.launch(
                problem.q,
                problem.k,
                problem.v,
                problem.tables,
                problem.lengths,
                out,
                part,
                lse,
                problem.scale,
                stretch,
            )
            return out

        return run


class Sdpa(Backend):
    """torch's scaled_dot_product_attention on contiguous keys; prefill from an empty cache only."""

    kinds = ("prefill",)
    prefix = False
    choice: ClassVar[str | None] = None

    def load(self) -> str:
        """Always there; the forced kernel may still refuse."""
        self.attention = importlib.import_module("torch.nn.attention")
        return f"torch {self.torch.__version__}"

    def bind(self, problem: Paged) -> Callable[[], Any]:
        """Causal, grouped query heads."""
        heads, batch, new = problem.heads, problem.batch, problem.new
        if problem.max_length != new:
            raise ValueError("cannot start behind cached tokens")
        q = problem.q.view(batch, new, heads.q, heads.dim).transpose(1, 2)
        k, v = (
            gather(pages, problem.tables, new).transpose(1, 2) for pages in (problem.k, problem.v)
        )
        sdpa = self.torch.nn.functional.scaled_dot_product_attention

        def run() -> Any:
            out = sdpa(q, k, v, is_causal=True, scale=problem.scale, enable_gqa=True)
            return out.transpose(1, 2).reshape(-1, heads.q, heads.dim)

        if self.choice is None:
            return run
        kernel = getattr(self.attention.SDPBackend, self.choice)

        def run_forced() -> Any:
            with self.attention.sdpa_kernel(kernel):
                return run()

        return run_forced


class SdpaCudnn(Sdpa):
    """cuDNN's fused attention."""

    key = "sdpa_cudnn"
    choice = "CUDNN_ATTENTION"


class SdpaFlash(Sdpa):
    """The FlashAttention built into torch."""

    key = "sdpa_flash"
    choice = "FLASH_ATTENTION"


class SdpaAny(Sdpa):
    """Whatever torch picks."""

    key = "sdpa"


class Gather(Backend):
    """Plain torch over gathered keys, in float32: the reference, and the CPU trial's decode."""

    key = "torch_gather"

    kv_dtypes = ("bf16", "fp8")

    def load(self) -> str:
        """Always there."""
        return f"torch {self.torch.__version__}"

    def bind(self, problem: Paged) -> Callable[[], Any]:
        """Gathers inside the timed call."""
        return lambda: reference(self.torch, problem).to(problem.q.dtype)


ORDER: tuple[type[Backend], ...] = (
    VllmFlashAttention,
    FlashAttention3,
    FlashAttention2,
    TritonSplit,
    SdpaCudnn,
    SdpaFlash,
    SdpaAny,
    Gather,
)
KEYS = tuple(backend.key.split()[0] for backend in ORDER)


def select(session: Session, kind: str, kv_dtype: str) -> Backend | None:
    """The first back end that computes `kind` right with a `kv_dtype` cache; None if none does.

    `session.attention` names the only one to consider, or is "auto".
    """
    for backend_class in ORDER:
        if session.attention not in ("auto", backend_class.key.split()[0]):
            continue
        if kind not in backend_class.kinds or kv_dtype not in backend_class.kv_dtypes:
            continue
        if session.on_gpu and session.attention == "auto" and backend_class is Gather:
            continue  # it moves several times the bytes: not what anybody serves with
        what = f"{kind} attention, {kv_dtype} cache, with {backend_class.key}"
        try:
            backend = backend_class(session)
            if kv_dtype not in backend.kv_dtypes:
                continue
            error = check(session, backend, kind, kv_dtype)
        except Exception as failure:
            session.table.skip(what, repr(failure))
            continue
        if not error <= TOLERANCE[kv_dtype]:
            session.table.skip(what, f"relative error {error:.2g} against a float32 reference")
            continue
        session.table.note(
            "attention back end",
            f"{kind}, {kv_dtype} cache: {backend.name}, page size {backend.page_size};"
            f" relative error {error:.1e} against a float32 reference",
        )
        session.say(f"{kind} attention, {kv_dtype} cache: {backend.name}")
        return backend
    return None


def check(session: Session, backend: Backend, kind: str, kv_dtype: str) -> float:
    """Relative L2 error of a small ragged problem on random data, output poisoned by NaN."""
    torch, page = session.torch, backend.page_size
    heads = session.plan.heads[0]
    if kind == "decode":
        new, lengths = 1, [1, 37, 300, 1111]
    else:
        new = 40
        lengths = [40, 77, 300, 40] if backend.prefix else [40] * 4
    needed = [-(-length // page) for length in lengths]
    pages = sum(needed) + 3
    shape = (pages, page, heads.kv, heads.dim)
    k, v = (
        torch.randn(shape, device=session.device).to(cache_dtype(torch, kv_dtype)) for _ in "kv"
    )
    order = torch.randperm(pages, device=session.device, dtype=torch.int32)
    q = torch.randn(len(lengths) * new, heads.q, heads.dim, device=session.device)
    counts = torch.tensor(lengths, device=session.device, dtype=torch.int32)
    tables = block_tables(torch, order, needed)
    problem = Paged(heads, new, q.to(torch.bfloat16), k, v, tables, counts, max(lengths))
    out = backend.bind(problem)()
    expected = reference(torch, problem)
    return float((out.float() - expected).norm() / expected.norm())


def _version(*packages: str) -> str:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "of unknown version"
