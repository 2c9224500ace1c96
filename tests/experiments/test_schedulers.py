"""Published directions of schedulers, on the committed seeds."""

import numpy as np

from tests.experiments.runs import SCHEDULER, SJF, result, summary

SRPT = SCHEDULER + "srpt"
GUESSES = (
    "predictor=oracle",
    "predictor={kind: noisy, sigma: 0.5}",
    "predictor={kind: noisy, sigma: 1.0}",
    "predictor={kind: rank_only, tau: 0.5}",
    "predictor={kind: rank_only, tau: 0.0}",
)


def test_shortest_first_answers_sooner_on_average():
    name = "shortest_first"
    fcfs, sjf, srpt = summary(name), summary(name, SJF), summary(name, SRPT)
    assert 0.85 < fcfs["offered_load"] < 0.95
    assert sjf["mean_tta_ms"] < 0.7 * fcfs["mean_tta_ms"]
    assert srpt["mean_tta_ms"] < 0.95 * sjf["mean_tta_ms"]
    shortest = [each["slowdown_by_length"]["short"]["mean"] for each in (fcfs, sjf, srpt)]
    assert max(shortest[1:]) < 0.3 * shortest[0]


def test_the_longest_pay_for_it():
    def longest(*overrides):
        """Mean tta of the two queries in a hundred that have most tokens, seconds."""
        requests = result("shortest_first", *overrides).requests
        requests = requests[requests["measured"]]
        tokens = requests["thinking_tokens"] + requests["answer_tokens"]
        chosen = tokens >= np.percentile(tokens, 98)
        return (requests["finish_s"] - requests["arrival_s"])[chosen].mean()

    assert longest(SJF) > 1.03 * longest()
    fcfs, sjf = summary("shortest_first"), summary("shortest_first", SJF)
    assert sjf["p99_tta_ms"] > 1.08 * fcfs["p99_tta_ms"]


def test_worse_guesses_erode_it():
    for scheduler in (SJF, SRPT):
        runs = [summary("shortest_first", scheduler, guess) for guess in GUESSES]
        mean = np.array([each["mean_tta_ms"] for each in runs])
        assert (np.diff(mean) > 0).all()
        assert mean[2] > 1.04 * mean[0]
        assert mean[3] > 1.05 * mean[0]
        assert mean[4] > 0.9 * summary("shortest_first")["mean_tta_ms"]
        assert runs[4]["p99_tta_ms"] > 1.7 * runs[0]["p99_tta_ms"]


def test_an_early_promotion_makes_sjf_fcfs_in_a_peak():
    fcfs, sjf, patient = (
        summary("shortest_first", *each)["mean_tta_ms"]
        for each in ((), (SCHEDULER + "sjf",), (SJF,))
    )
    assert patient < 0.7 * fcfs < 0.85 * fcfs < sjf < 0.97 * fcfs


def test_short_requests_do_not_wait_for_long_neighbours():
    name = "long_neighbours"
    fcfs, mlfq, turns, kept = (
        summary(name, *each)
        for each in (
            (),
            (SCHEDULER + "mlfq",),
            (SCHEDULER + "round_robin_chunked",),
            (
                SCHEDULER + "{kind: round_robin_chunked, kv: offload}",
                "pools.main.engine.host_kv_gib=128.0",
            ),
        )
    )
    wait = [each["classes"]["chat"]["p99_ttft_ms"] for each in (fcfs, mlfq, turns, kept)]
    assert wait[0] > 100_000
    assert wait[1] < 5_000
    assert wait[2] < 0.3 * wait[0]
    assert wait[3] < wait[2]
    proofs = [each["classes"]["proof"]["mean_tta_ms"] for each in (fcfs, mlfq, turns, kept)]
    assert proofs[0] < proofs[1] < 1.5 * proofs[0]
    assert proofs[0] < proofs[3] < proofs[2]
    assert turns["recomputed_tokens"] > 10 * kept["recomputed_tokens"]


def test_vtc_bounds_the_gap_between_two_clients():
    fcfs, vtc = summary("two_clients"), summary("two_clients", SCHEDULER + "vtc")
    pool = result("two_clients").summary
    batch_tokens = pool["kv_blocks_per_replica"] * pool["kv_block_size"]
    assert vtc["max_service_gap_tokens"] < 2 * 2 * batch_tokens < fcfs["max_service_gap_tokens"]
    assert vtc["max_service_gap_tokens"] < 0.02 * fcfs["max_service_gap_tokens"]
    modest = [each["classes"]["modest"]["p50_tta_ms"] for each in (fcfs, vtc)]
    assert modest[1] < 0.1 * modest[0]
    assert vtc["output_throughput"] > 0.98 * fcfs["output_throughput"]


def test_clients_that_both_want_more_than_half_get_half():
    more = "workload.classes.modest.arrivals.rate_rps=1.2"
    fcfs = summary("two_clients", more)
    vtc = summary("two_clients", more, SCHEDULER + "vtc")
    assert fcfs["jain_service"] < 0.92
    assert vtc["jain_service"] > 0.999


def test_phases_bring_answers_of_short_thinking_sooner_at_the_pace_of_reading():
    name, phases = "phase_aware", SCHEDULER + "phase_aware"
    fcfs, aware = summary(name), summary(name, phases)
    chat = [each["classes"]["chat"]["p99_ttfo_ms"] for each in (fcfs, aware)]
    assert chat[1] < 0.55 * chat[0]
    assert aware["mean_ttfo_ms"] < 0.6 * fcfs["mean_ttfo_ms"]
    requests = result(name, phases).requests
    answers = requests[requests["measured"] & (requests["answer_tokens"] > 20)]
    took_s = answers["finish_s"] - answers["first_answer_s"]
    pace = (answers["answer_tokens"] - 1) / took_s
    assert np.percentile(pace, 1) > 10.0  # reader_tokens_per_s


def test_phases_add_to_what_turns_alone_bring():
    phases = summary("phase_aware", SCHEDULER + "phase_aware")
    turns = summary("phase_aware", SCHEDULER + "{kind: round_robin_chunked, quantum_tokens: 512}")
    assert phases["median_ttfo_ms"] < 0.92 * turns["median_ttfo_ms"]
    tails = [each["classes"]["chat"]["p99_ttfo_ms"] for each in (phases, turns)]
    assert 0.7 < tails[0] / tails[1] < 1.4


def test_phases_make_the_longest_thinking_later():
    fcfs, aware = summary("phase_aware"), summary("phase_aware", SCHEDULER + "phase_aware")
    assert aware["p99_ttfo_ms"] > 1.1 * fcfs["p99_ttfo_ms"]


def test_the_urgent_do_not_wait_for_the_patient():
    fcfs, priority, edf = (
        summary("deadlines", *each)
        for each in ((), (SCHEDULER + "priority",), (SCHEDULER + "edf",))
    )
    for each in (priority, edf):
        assert each["slo_attainment"] > 0.999 > fcfs["slo_attainment"]
        assert each["classes"]["chat"]["p99_tta_ms"] < 0.6 * fcfs["classes"]["chat"]["p99_tta_ms"]
        assert each["classes"]["api"]["p99_tta_ms"] < 1.1 * fcfs["classes"]["api"]["p99_tta_ms"]
