"""Samples of one question share its prompt: the example of docs/workloads.md, and its numbers."""

from pathlib import Path

from simulator import load_experiment, run

DOCS = Path(__file__).parents[2] / "docs" / "workloads.md"


def test_samples_with_equal_segments_find_the_prompt_in_the_cache(tmp_path):
    text = DOCS.read_text(encoding="utf-8")
    assert "find 1,184 tokens twice" in " ".join(text.split())
    [rows] = [part for part in text.split("```") if "1:1200" in part]
    (tmp_path / "samples.csv").write_text(rows.removeprefix("text\n"))
    experiment = {
        "name": "samples",
        "pools": {"main": {"model": "llama-3.1-8b", "gpu": "h100-sxm"}},
        "workload": {"kind": "trace", "path": str(tmp_path / "samples.csv")},
    }
    result = run(load_experiment(experiment))
    assert result.requests["cached_tokens"].tolist() == [0, 1184, 1184]
    assert result.requests["query_id"].tolist() == [0, 1, 2]
    assert result.summary["prefix_hit_ratio"] == 2 * 1184 / 3600
    note = "takes 65.8% of the prompt tokens as found in the prefix cache"
    assert any(note in each for each in result.summary["notes"])
    apart = {**experiment, "pools": {"main": {**experiment["pools"]["main"], "replicas": 3}}}
    assert run(load_experiment(apart)).requests["cached_tokens"].tolist() == [0, 0, 0]
    together = run(load_experiment({**apart, "router": "prefix_affinity"}))
    assert together.requests["cached_tokens"].sum() == 2 * 1184
