"""Published directions of routers, caches and admission control, on the committed seeds."""

from tests.experiments.runs import summary

ALL_TO_REASONING = (
    "pools.standard.model=r1-distill-llama-70b",
    "pools.standard.tensor_parallel_size=4",
    "pools.standard.replicas=1",
    "router=least_outstanding",
)


def test_routing_by_difficulty_raises_throughput():
    routed, together = (
        summary("difficulty_routing"),
        summary("difficulty_routing", *ALL_TO_REASONING),
    )
    assert routed["num_gpus"] == together["num_gpus"] == 8
    assert routed["output_throughput"] > 1.5 * together["output_throughput"]
    assert routed["mean_tta_ms"] < 0.7 * together["mean_tta_ms"]


def test_wrong_labels_cost_some_of_it_and_long_hard_queries_all():
    wrong = "router={kind: difficulty, easy_called_hard: 0.3, hard_called_easy: 0.3}"
    longer = "workload.difficulty={a: 1.0, b: 2.32, thinking_correlation: 0.7}"
    together = summary("difficulty_routing", *ALL_TO_REASONING)["output_throughput"]
    right, mistaken, long = (
        summary("difficulty_routing", *each)["output_throughput"] / together
        for each in ((), (wrong,), (longer,))
    )
    assert 1.1 < mistaken < 0.85 * right
    assert long < 1.1


def test_looking_at_load_shortens_the_tail():
    turns, tokens, two = (
        summary("heavy_tails", *each)
        for each in ((), ("router=least_kv_tokens",), ("router=power_of_two",))
    )
    assert 0.85 < turns["offered_load"] < 0.95
    for chosen in (tokens, two):
        assert chosen["p99_slowdown"] < 0.65 * turns["p99_slowdown"]
        assert chosen["p99_ttft_ms"] < 0.6 * turns["p99_ttft_ms"]
        assert chosen["classes"]["api"]["p99_tta_ms"] < 0.96 * turns["classes"]["api"]["p99_tta_ms"]
    assert two["mean_ttft_ms"] < 0.3 * tokens["mean_ttft_ms"]  # seats are short, not tokens


def test_old_loads_draw_no_herds():
    """Routers count what they have sent since the snapshot."""

    def p99_slowdown(router):
        return summary("heavy_tails", f"router={router}")["p99_slowdown"]

    least, two = (
        (p99_slowdown(kind), p99_slowdown(f"{{kind: {kind}, snapshot_delay_s: 30.0}}"))
        for kind in ("least_kv_tokens", "power_of_two")
    )
    assert least[0] < least[1] < 1.6 * least[0]
    assert least[1] < 0.8 * p99_slowdown("round_robin")
    assert two[1] > 1.02 * two[0]
    assert two[1] < least[1]


def test_turns_find_their_context_where_they_left_it():
    usual, sessions, gateway, wary = (
        summary("cached_turns", *each)
        for each in (
            (),
            ("router=session_affinity",),
            ("router=prefix_affinity",),
            ("router={kind: prefix_affinity, balance_abs_threshold: 8}",),
        )
    )
    assert usual["prefix_hit_ratio"] < 0.45
    assert sessions["prefix_hit_ratio"] > 0.85
    assert wary["prefix_hit_ratio"] > 0.65
    assert sessions["median_ttft_ms"] < 0.3 * usual["median_ttft_ms"]
    assert sessions["mean_tta_ms"] < 0.95 * usual["mean_tta_ms"]
    assert gateway["running_imbalance"] > 3.5
    assert gateway["mean_tta_ms"] > 1.5 * usual["mean_tta_ms"]
    assert wary["mean_tta_ms"] < 0.95 * usual["mean_tta_ms"]


def test_less_kv_lets_more_run():
    compression = "pools.main.engine.kv_compression="
    whole, half, tenth = (
        summary("kv_compression", *each)
        for each in (
            (),
            (compression + "{budget_frac: 0.5}",),
            (compression + "{budget_frac: 0.1}",),
        )
    )
    assert whole["kv_usage_mean"] > 0.95
    assert half["running_mean"] > 1.7 * whole["running_mean"]
    assert half["output_throughput"] > 1.5 * whole["output_throughput"]
    assert tenth["output_throughput"] > 3.0 * whole["output_throughput"]
    assert tenth["p99_tta_ms"] < 0.5 * whole["p99_tta_ms"]


def test_rejecting_early_keeps_goodput_in_overload():
    usual, early, capped = (
        summary("early_rejection", *each)
        for each in (
            (),
            ("admission={kind: slo_reject, ttft_s: 10.0}",),
            ("admission={kind: queue_cap, max_waiting_per_replica: 20}",),
        )
    )
    assert usual["offered_load"] > 1.2
    assert usual["slo_attainment"] < 0.05
    for each in (early, capped):
        assert each["slo_attainment"] > 0.4
        assert each["output_throughput"] > 0.97 * usual["output_throughput"]
