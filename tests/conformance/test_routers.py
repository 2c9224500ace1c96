"""What every registered router must keep, and one from a file."""

import hashlib
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.cluster.cluster import Cluster
from simulator.cluster.pool import PoolPlan
from simulator.difficulty import NoisyClassifier
from simulator.engine.config import EngineConfig
from simulator.engine.request import COMPLETED, new_requests
from simulator.facts import RequestFacts
from simulator.policy import build, find
from simulator.routers import ROUTERS
from simulator.routers.base import Router, Snapshot
from simulator.testing import linear_cost
from tests.routers_support import Guess, a_fleet, a_snapshot, prompts, some_facts

ROOT = Path(__file__).parents[2]
OWN = """
from dataclasses import dataclass
from simulator.routers.base import Router

@dataclass(eq=False, kw_only=True)
class Emptiest(Router):
    def choose(self, request, replicas):
        return int(replicas.kv_used_frac.argmin())
"""
N = 80
COLUMNS = [each.name for each in fields(Snapshot) if each.name not in ("taken_s", "fresh")]
COST = linear_cost(0.01, 1e-5, 1e-6, max_tokens=256, max_seqs=8)


@pytest.fixture(scope="module", params=[*ROUTERS, "own"])
def kind(request, tmp_path_factory) -> type[Router]:
    if request.param != "own":
        return ROUTERS[request.param]
    path = tmp_path_factory.mktemp("routers") / "emptiest.py"
    path.write_text(OWN)
    return find(ROUTERS, Router, f"{path}:Emptiest")


def facts_of(seed: int = 0) -> RequestFacts:
    """Requests of which everything is known that a router can ask for."""
    rng = np.random.default_rng(seed)
    lists = [
        [(0, 50), (1 + int(session), int(rng.integers(1, 300)))]
        if session < 20
        else [(100 + k, int(rng.integers(1, 300)))]
        for k, session in enumerate(rng.integers(0, 30, N))
    ]
    sessions = [prompt[1][0] if len(prompt) == 2 else -1 for prompt in lists]
    return some_facts(
        N,
        **prompts(*lists),
        session_id=sessions,
        predictor=Guess(rng.integers(1, 9000, N)),
        classifier=NoisyClassifier(rng.random(N)),
    )


def a_cluster(kind: type[Router], *, seed: int = 0, outputs=None, **parameters) -> Cluster:
    rng = np.random.default_rng(3)
    facts = facts_of()
    drawn = rng.integers(1, 200, N) if outputs is None else outputs
    table = new_requests(np.cumsum(rng.exponential(0.1, N)), facts.prompt_tokens, drawn)
    small = EngineConfig(
        num_gpu_blocks=80, max_model_len=600, max_num_seqs=3, max_num_batched_tokens=128
    )
    large = EngineConfig(
        num_gpu_blocks=100,
        block_size=32,
        max_model_len=1000,
        max_num_seqs=8,
        max_num_batched_tokens=256,
        async_scheduling=True,
    )
    return Cluster(
        table,
        build(kind, parameters),
        [PoolPlan("small", small, COST, 2), PoolPlan("large", large, COST, 3)],
        sample_interval_s=1e9,
        facts=facts,
        seed=seed,
        check_integrity=True,
    )


def test_it_says_where_it_comes_from_and_keeps_nothing_in_fields(kind):
    assert kind.__doc__
    if kind.__module__.startswith("simulator."):
        assert kind.source
        assert "." in kind.source or "," in kind.source
    router = build(kind, {})
    assert router.snapshot_delay_s >= 0.0


@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_chooses_one_of_those_shown_and_the_same_under_the_same_seed(kind, data):
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    count = sum(sizes)
    some = st.lists(st.integers(0, 300), min_size=count, max_size=count)
    fleet = a_fleet(
        {f"pool{k}": size for k, size in enumerate(sizes)},
        kv_capacity_tokens=np.array(data.draw(some)) * 16 + 16,
        block_size=data.draw(st.sampled_from([8, 16])),
        seats=np.array(data.draw(some)) + 1,
    )
    one, other = build(kind, {}), build(kind, {})
    for router in (one, other):
        router.start(fleet, facts_of(), seed=5)
    for request in data.draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=6, unique=True)):
        seen = a_snapshot(
            fleet,
            num_waiting=data.draw(some),
            num_running=data.draw(some),
            waiting_tokens=data.draw(some),
            kv_used_tokens=data.draw(some),
            kv_used_frac=np.array(data.draw(some)) / 300,
            predicted_left=data.draw(some),
            sent=data.draw(some),
            sent_tokens=data.draw(some),
            sent_predicted=data.draw(some),
        )
        kept = data.draw(st.lists(st.sampled_from(range(count)), min_size=1, unique=True))
        seen = seen.only(np.sort(kept))
        before = [getattr(seen, name).tolist() for name in COLUMNS]
        chosen = one.choose(request, seen)
        assert isinstance(chosen, int)
        assert 0 <= chosen < len(seen)
        assert other.choose(request, seen) == chosen
        after = [getattr(seen, name).tolist() for name in COLUMNS]
        assert after == before


def test_pools_of_all_kinds_serve_everything(kind):
    cluster = a_cluster(kind)
    cluster.run()
    assert (cluster.requests["status"] == COMPLETED).all()
    assert (cluster.requests["generated_tokens"] == cluster.requests["output_tokens"]).all()


def test_the_same_seed_gives_the_same_choices_even_when_it_starts_again(kind):
    first = a_cluster(kind)
    first.run()
    second = a_cluster(kind)
    second.run()
    assert (second.requests["replica"] == first.requests["replica"]).all()
    again = a_cluster(kind)
    again._dispatcher.router = first.router
    first.router.start(again._dispatcher.router.fleet, facts_of(), 0)
    again.run()
    assert (again.requests["replica"] == first.requests["replica"]).all()


def test_what_it_does_not_see_does_not_matter(kind):
    """Requests of other lengths, seen by a router whose news is old: the same choices."""
    choices = []
    for outputs in (1, 190):
        cluster = a_cluster(kind, outputs=np.full(N, outputs), snapshot_delay_s=1e9)
        cluster.run()
        choices.append(cluster.requests["replica"].tolist())
    assert choices[0] == choices[1]


def test_a_single_replica_gets_everything(kind):
    facts = some_facts(
        20, predictor=Guess(np.full(20, 9.0)), classifier=NoisyClassifier(np.full(20, 0.9))
    )
    config = EngineConfig(num_gpu_blocks=80, max_model_len=600, max_num_seqs=3)
    cost = linear_cost(0.01, 0.0, 0.0, max_tokens=8192, max_seqs=3)
    table = new_requests(np.arange(20) * 0.05, 100, 30)
    cluster = Cluster(
        table, build(kind, {}), [PoolPlan("p", config, cost, 1)], sample_interval_s=1e9, facts=facts
    )
    cluster.run()
    assert (table["status"] == COMPLETED).all()
    fleet = a_fleet(1)
    router = build(kind, {})
    router.start(fleet, facts, 0)
    assert [router.choose(i, a_snapshot(fleet)) for i in range(20)] == [0] * 20


def choices_of_all() -> str:
    """A digest of where every registered router sends every request."""
    digest = hashlib.sha256()
    for name in ROUTERS:
        cluster = a_cluster(ROUTERS[name])
        cluster.run()
        digest.update(name.encode() + cluster.requests["replica"].tobytes())
    return digest.hexdigest()


def test_hash_seeds_do_not_matter():
    program = "from tests.conformance.test_routers import choices_of_all; print(choices_of_all())"
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == choices_of_all()
