"""The reference engine with a prefix cache."""

import numpy as np

from simulator.engine.content import content_paths
from simulator.prefix import PromptSegments

from .caches import BlockCache, RunCache
from .reference_engine import ReferenceEngine


class PrefixEngine(ReferenceEngine):
    """The reference engine over one of these caches; `rows` maps ids to rows of the cache."""

    def __init__(self, config, iteration_time_s, cache, rows):
        super().__init__(config, iteration_time_s)
        self.cache, self.rows = cache, rows
        self.first_hits = {}  # id -> tokens cached at the first admission

    def row(self, state):
        return self.rows[state.request.id]

    def cached_tokens(self, state):
        size = self.config.block_size
        self.hit, self.idle = self.cache.look_up(self.row(state), (state.known - 1) // size)
        return self.hit * size

    def allocate(self, state, n, admission=False):
        """(4)"""
        config, size = self.config, self.config.block_size
        hit, idle = (self.hit, self.idle) if admission else (0, 0)
        base = hit * size if admission else state.computed
        spare = self.cache.free_blocks
        if admission and self.running:
            spare -= int(config.watermark * config.num_gpu_blocks)
        full_need = max(self.blocks(min(state.known, config.max_model_len)) - hit, 0) + idle
        if admission and config.scheduler_reserve_full_isl and full_need > spare:
            return False
        tokens = min(base + n, config.max_model_len)
        new = max(self.blocks(tokens) - state.blocks - hit, 0)
        if new + idle > spare:
            return False
        full = min(base + n, state.known) // size
        if admission:
            self.first_hits.setdefault(state.request.id, base)
            self.cache.admit(self.row(state), hit, new, full)
        else:
            self.cache.add(self.row(state), new, full)
        state.blocks += hit + new
        self.free_blocks = self.cache.free_blocks
        return True

    def token_known(self, state):
        full = (state.computed - state.in_flight) // self.config.block_size
        self.cache.add(self.row(state), 0, full)

    def release(self, state):
        self.cache.release(self.row(state))
        state.blocks = 0
        self.free_blocks = self.cache.free_blocks


def block_cache(requests, block_size, usable_blocks):
    """Of the requests of a recording."""
    streams = []
    for request in requests:
        tokens = [(name, k) for name, length in request["prompt_segments"] for k in range(length)]
        tokens += [(f"out:{request['id']}", k) for k in range(request["output_tokens"])]
        streams.append(tokens)
    return BlockCache(streams, block_size, usable_blocks)


def run_cache(requests, block_size, usable_blocks):
    """Of the requests of a recording."""
    numbers = {}

    def number(name):
        return numbers.setdefault(name, len(numbers))

    prompts = [[(number(s), n) for s, n in request["prompt_segments"]] for request in requests]
    outputs = [[number(f"out:{request['id']}")] * 2 for request in requests]
    segments = PromptSegments.from_lists(prompts, np.array(outputs, dtype=np.int64))
    prompt = segments.prompt_tokens()
    generated = np.array([request["output_tokens"] for request in requests])
    tree = content_paths(segments, prompt, np.zeros_like(prompt), generated, block_size)
    return RunCache(tree, usable_blocks)
