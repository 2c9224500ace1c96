"""What a replica may be told, and that all of what it may not is said at once."""

import re

import pytest

from simulator.engine.config import EngineConfig
from simulator.errors import InputError

GOOD = {"num_gpu_blocks": 101, "max_model_len": 1600}


def problems(**options) -> dict[str, str]:
    with pytest.raises(InputError) as caught:
        EngineConfig(**(GOOD | options))
    found = {problem.field: problem.message for problem in caught.value.problems}
    assert len(found) == len(caught.value.problems), "one problem a field"
    return found


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_model_len", 0, "must be at least 1, not 0"),
        ("max_num_seqs", 0, "must be at least 1, not 0"),
        ("max_num_batched_tokens", -3, "must be at least 1, not -3"),
        ("block_size", 0, "must be at least 1, not 0"),
        ("prefill_schedule_interval", 0, "must be at least 1, not 0"),
        ("num_gpu_blocks", 1, "must be at least 2: one block is never usable"),
        ("watermark", -0.1, "must be in [0, 1), not -0.1"),
        ("watermark", 1.0, "must be in [0, 1), not 1.0"),
        ("watermark", float("nan"), "must be in [0, 1), not nan"),
        ("long_prefill_token_threshold", -1, "must not be negative"),
        ("max_num_active_seqs", 0, "must be at least 1, or null"),
        ("stepping", "leap", "must be span or iteration, not 'leap'"),
    ],
)
def test_an_option_out_of_range_is_named(option, value, message):
    assert problems(**{option: value}) == {option: message}


def test_a_model_length_the_cache_cannot_hold_says_what_it_can():
    message = problems(max_model_len=1601)["max_model_len"]
    assert message == (
        "1601 tokens do not fit the KV cache of 100 usable blocks of 16; at most 1600"
    )
    assert EngineConfig(**GOOD).max_model_len == 1600


@pytest.mark.parametrize(
    ("full", "window", "longest"),
    [
        (1, 0, 1600),
        (1, 1, 93 * 16),  # 7 of the 100 blocks for a window of 100 tokens, the rest for all
        (2, 3, 39 * 16),
        (10, 10, 5 * 16),  # not even the window fits
        (0, 3, None),  # all layers forget
    ],
)
def test_the_longest_request_of_layers_with_a_window(full, window, longest):
    options = {"kv_groups_full": full, "kv_groups_window": window, "window_tokens": 100}
    fits = longest or 10**6
    config = EngineConfig(num_gpu_blocks=101, max_model_len=fits, **options)
    assert config.longest_request == longest
    if longest is not None:
        message = problems(max_model_len=longest + 1, **options)["max_model_len"]
        assert message.endswith(f"at most {longest}")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"window_tokens": -1}, "window_tokens"),
        ({"kv_groups_full": -1}, "kv_groups_full"),
        ({"kv_groups_window": -1}, "kv_groups_window"),
        ({"kv_groups_full": 0}, "kv_groups_full"),
        ({"kv_groups_window": 1}, "window_tokens"),
    ],
)
def test_groups_of_layers_must_make_sense(options, field):
    assert set(problems(**options)) == {field}


def test_whole_prompts_need_a_budget_for_the_longest():
    message = problems(enable_chunked_prefill=False, max_num_batched_tokens=1599)
    assert re.match("1599 is below max_model_len 1600", message["max_num_batched_tokens"])
    EngineConfig(**GOOD, enable_chunked_prefill=False, max_num_batched_tokens=1600)
    EngineConfig(**GOOD, max_num_batched_tokens=1)  # chunks may be as small as they like


def test_problems_that_need_no_other_option_are_reported_together():
    found = problems(
        watermark=2.0,
        long_prefill_token_threshold=-1,
        max_num_active_seqs=0,
        stepping="",
        max_model_len=9999,
    )
    assert set(found) == {
        "watermark",
        "long_prefill_token_threshold",
        "max_num_active_seqs",
        "stepping",
        "max_model_len",
    }


def test_every_problem_is_reported_at_once():
    """Also those beside an option that must be at least 1."""
    wrong = {
        "num_gpu_blocks": 0,
        "max_model_len": 0,
        "max_num_seqs": 0,
        "max_num_batched_tokens": 0,
        "block_size": 0,
        "prefill_schedule_interval": 0,
        "watermark": -1.0,
        "long_prefill_token_threshold": -1,
        "max_num_active_seqs": 0,
        "stepping": "leap",
    }
    assert set(problems(**wrong)) == set(wrong)


def test_one_block_is_never_usable():
    assert EngineConfig(**GOOD).usable_blocks == 100


@pytest.mark.parametrize(("watermark", "blocks"), [(0.0, 0), (0.01, 1), (0.0198, 1), (0.02, 2)])
def test_the_watermark_is_a_share_of_all_blocks_rounded_down(watermark, blocks):
    config = EngineConfig(**GOOD, watermark=watermark)
    assert config.watermark_blocks == blocks


def test_active_seqs_lower_the_number_of_seats():
    assert EngineConfig(**GOOD, max_num_seqs=64).seat_limit == 64
    assert EngineConfig(**GOOD, max_num_seqs=64, max_num_active_seqs=3).seat_limit == 3
    with pytest.raises(InputError, match="max_num_active_seqs: 300 is above max_num_seqs 64"):
        EngineConfig(**GOOD, max_num_seqs=64, max_num_active_seqs=300)
