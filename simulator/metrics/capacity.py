"""How many requests a replica can complete per second, estimated without a simulation."""

from __future__ import annotations

import numpy as np

from simulator.cost.iteration_time import CostTable
from simulator.engine.config import EngineConfig


def capacity_rps(
    config: EngineConfig,
    cost: CostTable,
    prompt_tokens: np.ndarray,
    output_tokens: np.ndarray,
    cached_frac: float = 0.0,
) -> float:
    """Requests per second that one saturated replica completes on this mix of lengths.

    `prompt_tokens` and `output_tokens` are int64[n], one entry per request. A request with P prompt
    and O output tokens sits in O iterations with P + O/2 tokens of context on average, so the mean
    context in a running batch is sum O (P + O/2) / sum O: long thinkers count more than their
    share. As many run as seats and KV cache hold at that mean. A request takes as many iterations
    of the whole replica as its decodes need at that batch size, or as all its tokens need at the
    token budget, whichever is more. Mean iterations, plus each request's own prefill, give the
    rate. It knows nothing of preemptions, nor of requests that leave no room for one another, and
    so tends to be a little high.

    Of each prompt the first `cached_frac` is taken to be in the prefix cache: these tokens are read
    as context, not computed. That requests which run at once share such KV is left out, and so are
    KV compression, KV that a scheduler reserves, and seats that static batching leaves empty.
    """
    output = np.maximum(output_tokens, 1).astype(np.float64)
    prompt = prompt_tokens.astype(np.float64)
    context = float(np.sum(output * (prompt + 0.5 * output)) / np.sum(output))
    blocks = context / config.block_size + 0.5  # the last block is half empty on average
    blocks = config.kv_groups_full * blocks + config.kv_groups_window * min(
        blocks, config.window_blocks
    )
    held = config.usable_blocks / blocks
    budget = config.max_num_batched_tokens
    seats = max(1.0, min(config.seat_limit, budget, held))
    cached = cached_frac * prompt
    mean_prompt, mean_output = float(np.mean(prompt)), float(np.mean(output))
    mean_new = mean_prompt - float(np.mean(cached))
    iterations = max(mean_output / seats, (mean_new + mean_output) / budget)
    batch = int(max(1.0, mean_output / iterations))
    decode_s = cost.iteration_s(batch, round(batch * context))
    chunks = max(mean_new / budget, 1.0 / budget)
    if budget > batch:
        token_s = (cost.token_s[budget] - cost.token_s[batch]) / (budget - batch)
    else:
        token_s = cost.token_s[budget] / budget
    fixed_s, per_token_s, per_context_s, per_pair_s, per_seen_s, per_window_pair_s = cost.prefill_s
    pairs = [_pairs(tokens, tokens) for tokens in (prompt, cached)]
    window_pairs = [_pairs(tokens, cost.window_tokens) for tokens in (prompt, cached)]
    prefill_s = (
        chunks * fixed_s
        + mean_new * (token_s + per_token_s)
        + mean_prompt * (per_context_s + per_seen_s)
        + per_pair_s * float(np.mean(pairs[0] - pairs[1]))
        + per_window_pair_s * float(np.mean(window_pairs[0] - window_pairs[1]))
    )
    return float(1.0 / (iterations * decode_s + prefill_s))


def _pairs(tokens: np.ndarray, window: np.ndarray | int) -> np.ndarray:
    """Of the first tokens of prompts, each with itself and those before it in its window."""
    growing = np.minimum(tokens, window)
    return np.asarray(growing * (growing + 1.0) / 2.0 + (tokens - growing) * window)
