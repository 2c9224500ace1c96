"""What must hold of every arrival process that can be named in an experiment."""

import math
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from workloads import arrivals
from workloads.arrivals import Arrivals

MEMBERS = get_args(get_args(Arrivals)[0])

seeds = st.integers(-(2**63), 2**63)
entities = st.text(max_size=8)
rates = st.floats(1e-3, 1e4)
cvs = st.one_of(st.just(1.0), st.floats(0.01, 20))
some_cv = {"rate_rps": rates, "cv": cvs, "stationary": st.booleans()}
# States that change so seldom that a request has few of them to wait for.
states = st.lists(
    st.fixed_dictionaries({"rate_rps": st.floats(1, 1e4), "mean_sojourn_s": st.floats(0.5, 50)}),
    min_size=1,
    max_size=4,
)
with_pauses = states.map(lambda some: [*some, {"rate_rps": 0.0, "mean_sojourn_s": 0.5}])
levels = st.lists(st.one_of(st.just(0.0), rates), min_size=1, max_size=5).filter(any)


@st.composite
def piecewise(draw):
    rates_rps, repeat = draw(levels), draw(st.booleans())
    content = {"rates_rps": rates_rps, "repeat": repeat, "cv": draw(cvs)}
    if draw(st.booleans()):
        return content | {"step_s": draw(st.floats(0.1, 1000))}
    lasts = [draw(st.floats(0.1, 1000)) for _ in range(len(rates_rps) - 1 + repeat)]
    return content | {"times_s": [0.0, *np.cumsum(lasts).tolist()]}


@st.composite
def bursts(draw):
    size = draw(st.one_of(st.integers(1, 300).map(float), st.floats(1, 300)))
    rate_rps, law = draw(rates), "geometric"
    if size == int(size):
        law = draw(st.sampled_from(["geometric", "fixed"]))
    # so that few requests are drawn from before time 0
    gap_s = draw(st.one_of(st.just(0.0), st.floats(0.0, 100 / rate_rps / size)))
    return {"rate_rps": rate_rps, "mean_size": size, "size_law": law, "gap_s": gap_s}


@pytest.fixture(scope="module", autouse=True)
def trace():
    """A trace of five requests, two at the same time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.csv"
        rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
        rows += [f"2023-11-16 18:15:{second}.25,7,7" for second in (10, 11, 11, 15, 50)]
        path.write_text("\n".join(rows) + "\n")
        yield path


FIELDS = {
    arrivals.PoissonArrivals: st.fixed_dictionaries({"rate_rps": rates}),
    arrivals.DeterministicArrivals: st.fixed_dictionaries({"rate_rps": rates}),
    arrivals.GammaArrivals: st.fixed_dictionaries(some_cv),
    arrivals.WeibullArrivals: st.fixed_dictionaries(some_cv),
    arrivals.ModulatedPoissonArrivals: st.fixed_dictionaries(
        {
            "states": st.one_of(states, with_pauses),
            "next_state": st.sampled_from(["cyclic", "random"]),
        }
    ),
    arrivals.PiecewiseArrivals: piecewise(),
    arrivals.BatchedArrivals: st.builds(
        lambda content, tick_s: content | {"tick_s": tick_s}, piecewise(), st.floats(1e-3, 10)
    ),
    arrivals.DiurnalArrivals: st.fixed_dictionaries(
        {
            "rate_rps": rates,
            "amplitude": st.floats(0, 1),
            "peak_hour": st.floats(0, 23.9),
            "start_hour": st.floats(0, 23.9),
            "day_s": st.floats(1, 86_400),
            "cv": cvs,
        }
    ),
    arrivals.BurstArrivals: bursts(),
    arrivals.TraceTimesArrivals: st.fixed_dictionaries(
        {"rate_scale": st.floats(0.01, 100), "repeat": st.booleans()}
    ),
    arrivals.AllAtOnceArrivals: st.just({}),
    arrivals.ClosedLoopArrivals: st.fixed_dictionaries({"concurrency": st.integers(1, 9)}),
}
TIMELESS = (arrivals.AllAtOnceArrivals, arrivals.ClosedLoopArrivals)
SEEDLESS = (*TIMELESS, arrivals.DeterministicArrivals, arrivals.TraceTimesArrivals)
quick = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def drawn(data, member, trace):
    """A process of this class, by way of the mapping that an experiment would hold."""
    content = {"kind": member.model_fields["kind"].default} | data.draw(FIELDS[member])
    if member is arrivals.TraceTimesArrivals:
        content["path"] = str(trace)
    law = TypeAdapter(Arrivals).validate_python(content)
    assert type(law) is member
    return law


@pytest.mark.parametrize("member", MEMBERS)
@quick
@given(data=st.data(), seed=seeds, entity=entities, count=st.integers(1, 1500))
def test_times_ascend_from_0(member, trace, data, seed, entity, count):
    law = drawn(data, member, trace)
    times = law.times(seed, entity, count=count)
    assert times.dtype == np.float64
    assert len(times) <= count
    assert np.isfinite(times).all()
    assert (np.diff(times) >= 0).all()
    assert not times.size or times[0] >= 0
    ends = member is arrivals.TraceTimesArrivals and not law.repeat
    ends |= isinstance(law, arrivals.PiecewiseArrivals) and not (law.repeat or law.rates_rps[-1])
    assert ends or len(times) == count
    assert law.describe()


@pytest.mark.parametrize("member", MEMBERS)
@quick
@given(
    data=st.data(),
    seed=seeds,
    count=st.integers(1, 300),
    fewer=st.integers(1, 300),
    rows=st.integers(1, 40),
)
def test_however_cut_the_times_are_the_same(member, trace, data, seed, count, fewer, rows):
    law = drawn(data, member, trace)
    whole = law.times(seed, "a", count=count)
    assert np.array_equal(law.times(seed, "a", count=fewer)[:count], whole[:fewer])
    ends = {"count": count}
    if member not in TIMELESS and whole.size and whole[-1] > 0:
        ends["duration_s"] = float(data.draw(st.sampled_from(list(whole))) or whole[-1])
        until = law.times(seed, "a", **ends)
        assert np.array_equal(until, whole[whole < ends["duration_s"]])
        without_count = law.times(seed, "a", duration_s=ends["duration_s"])
        assert np.array_equal(without_count[:count], until)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workloads.processes.arrival_process.CHUNK_ROWS", rows)
        patch.setattr("workloads.processes.arrival_process.LEAST_ROWS", min(rows, 3))
        assert np.array_equal(law.times(seed, "a", count=count), whole)
        for entity in ("b", "c"):  # others change nothing
            law.times(seed, entity, count=5)
        if "duration_s" in ends:
            assert np.array_equal(law.times(seed, "a", **ends), until)


@pytest.mark.parametrize("member", MEMBERS)
@quick
@given(data=st.data(), seed=st.integers(0, 2**40))
def test_seed_and_entity_decide(member, trace, data, seed):
    law = drawn(data, member, trace)
    times = law.times(seed, "a", count=20)
    same = type(law).model_validate(law.model_dump()).times(seed, "a", count=20)
    assert np.array_equal(times, same)
    others = [law.times(seed, "b", count=20), law.times(seed + 1, "a", count=20)]
    if member in SEEDLESS:
        assert all(np.array_equal(times, other) for other in others)
    elif len(times) > 2 and member is not arrivals.BatchedArrivals:  # a tick hides who came when
        assert not any(np.array_equal(times, other) for other in others)


@pytest.mark.parametrize("member", MEMBERS)
@quick
@given(data=st.data(), factor=st.floats(0.1, 10))
def test_a_scaled_process_has_a_scaled_rate(member, trace, data, factor):
    law = drawn(data, member, trace)
    if member is arrivals.ClosedLoopArrivals:
        with pytest.raises(ValueError, match="no rate to scale"):
            law.scaled(factor)
        return
    scaled = law.scaled(factor)
    assert type(scaled) is member
    rate = law.mean_rate_rps()
    if math.isinf(rate):
        assert scaled == law
        return
    assert scaled.mean_rate_rps() == pytest.approx(factor * rate)
    if member is not arrivals.TraceTimesArrivals:  # a faster trace is one on another clock
        assert scaled.expected_count(12.5) == pytest.approx(factor * law.expected_count(12.5))
