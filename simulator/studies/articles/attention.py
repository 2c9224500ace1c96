"""Cumulative attention of a long trace: the exact sum, from the cost model's attention FLOPs."""

from __future__ import annotations

from simulator.cost.attention_work import attention_work
from simulator.cost.catalogue import load_architecture
from simulator.cost.sharding import shard
from simulator.studies.articles.base import FULL_ARC, NEW_AXIS, Row, Study, close, graded

MODEL = "llama-3.3-70b"
LONG_TOKENS, SHORT_TOKENS = 50_000, 1_600
PROMPT_TOKENS = 1_000


def attention_flops(model_name: str, prompt_tokens: int, generated_tokens: int) -> float:
    """Attention FLOPs of all decodes of one query: the i-th new token sees prompt + i tokens."""
    model = load_architecture(model_name)
    work = attention_work(shard(model, 1), "bf16")
    tokens = generated_tokens
    seen = tokens * prompt_tokens + tokens * (tokens + 1) // 2
    return model.num_hidden_layers * (work.context_flops * seen + work.request_flops * tokens)


def all_flops(model_name: str, prompt_tokens: int, generated_tokens: int) -> float:
    """The same with the weights: 2 FLOPs per active parameter and token, decodes only."""
    active = load_architecture(model_name).active_parameters
    return 2.0 * active * generated_tokens + attention_flops(
        model_name, prompt_tokens, generated_tokens
    )


def _rows() -> list[Row]:
    def ratio(prompt_tokens: int) -> float:
        long, short = LONG_TOKENS, SHORT_TOKENS
        flops = attention_flops(MODEL, prompt_tokens, long)
        return flops / attention_flops(MODEL, prompt_tokens, short)

    bare, prompted = ratio(0), ratio(PROMPT_TOKENS)
    whole = all_flops(MODEL, PROMPT_TOKENS, LONG_TOKENS)
    whole /= all_flops(MODEL, PROMPT_TOKENS, SHORT_TOKENS)
    share = attention_flops(MODEL, PROMPT_TOKENS, LONG_TOKENS)
    share /= all_flops(MODEL, PROMPT_TOKENS, LONG_TOKENS)
    last = (LONG_TOKENS + PROMPT_TOKENS) / PROMPT_TOKENS
    return [
        Row(
            "cumulative attention, 50,000 against 1,600 generated tokens",
            "~1,000x",
            f"{bare:,.0f}x",
            graded(close(bare, 1000)),
            f"sum of contexts T (T + 1) / 2; behind a prompt of 1,000 tokens {prompted:,.0f}x, and"
            f" {whole:.0f}x in all FLOPs: attention is {100 * share:.0f} % of the long query's",
        ),
        Row(
            "attention of the last of 50,000 tokens against the first",
            "50x",
            f"{last:.0f}x",
            graded(close(last, 50)),
            "per token attention is linear in context, behind a prompt of 1,000 tokens",
        ),
    ]


STUDY = Study("attention", "Attention over a whole trace", f"{FULL_ARC}; {NEW_AXIS}", _rows)
