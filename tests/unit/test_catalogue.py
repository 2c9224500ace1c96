"""The models that come with ponder: published parameter counts, cache sizes, names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simulator.cost.catalogue import list_models, load_architecture
from simulator.cost.sharding import shard
from simulator.errors import InputError

POINTS = Path(__file__).parents[3] / "shared" / "data" / "truth" / "dev_points.csv"
# Architectures among the measured points that cannot be costed.
NOT_COSTED = ("v3.2",)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # `model.safetensors` totals of the published checkpoints, without multi-token prediction
        ("deepseek-r1", 671_026_419_200),
        ("gpt-oss-20b", 20_914_757_184),
        ("gpt-oss-120b", 116_829_156_672),
        ("llama-2-7b", 6_738_415_616),
        ("llama-2-70b", 68_976_648_192),
        ("llama-3.1-8b", 8_030_261_248),
        ("llama-3.3-70b", 70_553_706_496),
        ("llama-3.1-405b", 405_853_388_800),
        ("mixtral-8x7b", 46_702_792_704),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-14b", 14_768_307_200),
        ("qwen3-32b", 32_762_123_264),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("qwen3-235b-a22b", 235_093_634_560),
        ("r1-distill-qwen-7b", 7_615_616_512),
        ("r1-distill-qwen-14b", 14_770_033_664),
        ("r1-distill-qwen-32b", 32_763_876_352),
        ("qwq-32b", 32_763_876_352),
    ],
)
def test_published_parameter_counts(name: str, parameters: int) -> None:
    assert load_architecture(name).parameters == parameters


@pytest.mark.parametrize(
    ("name", "billions"), [("minimax-m2.5", 229), ("gemma-3-27b", 27), ("glm-4.5-air", 106)]
)
def test_parameters_of_models_whose_cards_only_say_billions(name: str, billions: float) -> None:
    assert load_architecture(name).parameters / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize(
    ("name", "billions", "counts_embedding"),
    [  # model cards; some count the row that is looked up as if the whole embedding were multiplied
        ("deepseek-r1", 37, False),
        ("gpt-oss-20b", 3.6, False),
        ("gpt-oss-120b", 5.1, False),
        ("mixtral-8x7b", 12.9, True),
        ("qwen3-30b-a3b", 3.3, True),
        ("qwen3-235b-a22b", 22, True),
        ("glm-4.6", 32, False),
    ],
)
def test_published_active_parameters(name: str, billions: float, counts_embedding: bool) -> None:
    model = load_architecture(name)
    active = model.active_parameters + model.embedding_parameters * counts_embedding
    assert active / 1e9 == pytest.approx(billions, rel=0.03)


@pytest.mark.parametrize(
    ("name", "bytes_per_token", "context"),
    [
        ("llama-3.1-8b", 131_072, 131_072),
        ("llama-3.3-70b", 327_680, 131_072),
        ("llama-2-70b", 327_680, 4_096),
        ("llama-3.1-405b", 516_096, 131_072),
        ("deepseek-r1", 61 * 1_152, 163_840),
        ("gpt-oss-20b", 49_152, 131_072),
        ("gpt-oss-120b", 73_728, 131_072),
        ("qwen3-30b-a3b", 98_304, 40_960),
        ("qwen3-32b", 262_144, 40_960),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", 98_304, 262_144),
        ("qwq-32b", 262_144, 40_960),
        ("gemma-3-27b", 507_904, 131_072),
    ],
)
def test_cache_bytes_per_token_and_context(name: str, bytes_per_token: int, context: int) -> None:
    model = load_architecture(name)
    assert model.kv_bytes_per_token() == bytes_per_token
    assert model.kv_bytes_per_token(bytes_per_element=1) * 2 == bytes_per_token
    assert model.max_position_embeddings == context


def test_layers_with_a_window() -> None:
    def windows(name: str) -> tuple[int, int, int]:
        model = load_architecture(name)
        return model.num_window_layers, model.num_full_layers, model.sliding_window

    assert windows("gpt-oss-20b") == (12, 12, 128)
    assert windows("gpt-oss-120b") == (18, 18, 128)
    assert windows("gemma-3-27b") == (52, 10, 1024)
    assert windows("qwen3-32b") == (0, 64, 0)


@pytest.mark.parametrize(
    ("name", "gib"),
    [("gpt-oss-20b", 12.8), ("gpt-oss-120b", 60.8), ("llama-3.1-8b", 14.96), ("deepseek-r1", 641)],
)
def test_checkpoints_weigh_what_they_weigh(name: str, gib: float) -> None:
    # gpt-oss: model card; DeepSeek-R1: its files, 641 GiB, hold multi-token prediction (12 GiB) too
    model = load_architecture(name)
    spare = 0.03 if name == "deepseek-r1" else 0.005
    assert shard(model, 1).weight_bytes(model.formats) / 2**30 == pytest.approx(gib, rel=spare)


@pytest.mark.parametrize("row", list_models(), ids=lambda row: row.name)
def test_every_alias_leads_to_its_model(row: Any) -> None:
    for alias in (row.name, *row.aliases):
        for written in (alias.upper(), alias.rsplit("/", 1)[-1], f"/workspace/{alias}"):
            assert load_architecture(written).name == row.name
    model = load_architecture(row.name)
    assert (row.parameters, row.layers) == (model.parameters, model.num_hidden_layers)
    assert row.active_parameters == model.active_parameters


def test_distilled_reasoning_models_are_in_the_catalogue() -> None:
    for alias in ("r1-distill-llama-70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"):
        assert load_architecture(alias) is load_architecture("llama-3.3-70b")
    for alias in ("r1-distill-llama-8b", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"):
        assert load_architecture(alias) is load_architecture("meta-llama/Llama-3.1-8B-Instruct")


@pytest.mark.parametrize(
    ("alias", "formats"),
    [
        ("Qwen/Qwen3-32B", ("bf16",)),
        ("Qwen/Qwen3-32B-FP8", ("fp8_block",)),
        ("Qwen/Qwen3-14B-AWQ", ("int4",)),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", ("fp8_block",)),
        ("nvidia/Llama-3.1-405B-Instruct-FP8", ("fp8",)),
        ("deepseek-ai/DeepSeek-R1-0528", ("fp8_block",)),
        ("nvidia/DeepSeek-R1-FP4", ("bf16", "nvfp4")),
        ("openai/gpt-oss-120b", ("bf16", "mxfp4")),
    ],
)
def test_an_alias_of_a_quantised_checkpoint_sets_the_weights(
    alias: str, formats: tuple[str, ...]
) -> None:
    assert load_architecture(alias).formats.all == formats


def test_models_of_the_measured_points_are_known() -> None:
    if not POINTS.is_file():
        pytest.skip("needs the measured points ../shared/data/truth/dev_points.csv")
    names = sorted(set(pd.read_csv(POINTS)["model"]))
    assert len(names) > 20
    for name in names:
        if name.lower().endswith(NOT_COSTED):
            with pytest.raises(InputError, match="unknown model"):
                load_architecture(name)
        else:
            assert load_architecture(name).parameters > 1e9
