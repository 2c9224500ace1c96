"""One small file of each trace format, with what is in it."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A file's content, how many rows it has, and what the usable ones hold."""

    text: str
    rows: int
    arrival_s: list[float]
    prompt_tokens: list[int]
    answer_tokens: list[int]


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def mooncake(timestamp, input_length, output_length, hash_ids):
    return {
        "timestamp": timestamp,
        "input_length": input_length,
        "output_length": output_length,
        "hash_ids": hash_ids,
    }


def qwen(chat_id, parent, timestamp, input_length, output_length, turn, hash_ids, type="text"):
    return {
        "chat_id": chat_id,
        "parent_chat_id": parent,
        "timestamp": timestamp,
        "input_length": input_length,
        "output_length": output_length,
        "type": type,
        "turn": turn,
        "hash_ids": hash_ids,
    }


def chat(*texts, id="a"):
    """A conversation of ShareGPT, said in turn by a human and a model."""
    who = ("human", "gpt")
    said = [{"from": who[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"id": id, "conversations": said}


AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:48.6805900,0,9
2023-11-16 18:15:50.9951690,396,109
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,API log
"""
BURSTGPT_2 = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82-0a46,43,GPT-4,906,446,1352,Conversation log
19440111.5,,3,ChatGPT,36,29,65,API log
19440120.0,1722ac82-0a46,2,GPT-4,1400,7,1407,Conversation log
"""
MOONCAKE = lines(
    mooncake(1000, 700, 500, [0, 1]),
    mooncake(1000, 0, 4, []),
    mooncake(4500, 1300, 6, [0, 2, 3]),
)
QWEN = lines(
    qwen(7, -1, 61.0, 40, 9, 1, [5, 6, 7]),
    qwen(8, -1, 61.5, 16, 0, 1, [9], type="file"),
    qwen(9, 7, 63.25, 60, 4, 2, [5, 6, 8, 4], type="search"),
)
VLLM_BENCH = json.dumps(
    {
        "date": "20260101-000000",
        "request_rate": "inf",
        "num_prompts": 3,
        "request_throughput": 2.0,
        "input_lens": [10, 20, 30],
        "output_lens": [5, 0, 7],
        "ttfts": [0.1, 0.0, 0.1],
        "itls": [[0.02, 0.02], [], [0.02]],
        "start_times": [107.5, 106.0, 105.0],
        "errors": ["", "timeout", ""],
    }
)
SHAREGPT = json.dumps([chat("12345", "abcd", "1", "12"), chat("question without answer", id="b")])
PONDER = lines(
    {"arrival_s": 0.5, "prompt_tokens": 12, "thinking_tokens": 900, "answer_tokens": 8},
    {"arrival_s": 0.75, "prompt_tokens": 12, "thinking_tokens": 0, "answer_tokens": 0},
    {"arrival_s": 1.5, "prompt_tokens": 7, "thinking_tokens": 0, "answer_tokens": 80},
)

EXAMPLES = {
    "azure_llm": Example(AZURE, 3, [0.0, 4.314579], [374, 396], [44, 109]),
    "burstgpt": Example(BURSTGPT, 3, [0.0, 113.0], [472, 417], [18, 276]),
    "mooncake": Example(MOONCAKE, 3, [0.0, 3.5], [700, 1300], [500, 6]),
    "ponder": Example(PONDER, 3, [0.5, 1.5], [12, 7], [8, 80]),
    "qwen_bailian": Example(QWEN, 3, [0.0, 2.25], [40, 60], [9, 4]),
    "sharegpt": Example(SHAREGPT, 3, [0.0, 0.0], [2, 4], [1, 1]),
    "vllm_bench": Example(VLLM_BENCH, 3, [0.0, 2.5], [30, 10], [7, 5]),
}
