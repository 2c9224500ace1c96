import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.arrivals import AllAtOnceArrivals, DeterministicArrivals, PoissonArrivals

seeds = st.integers(-(2**63), 2**63)


@settings(deadline=None, max_examples=60)
@given(
    law=st.one_of(
        st.builds(PoissonArrivals, rate_rps=st.floats(1e-3, 1e4)),
        st.builds(DeterministicArrivals, rate_rps=st.floats(1e-3, 1e4)),
        st.builds(AllAtOnceArrivals),
    ),
    seed=seeds,
    count=st.integers(1, 3000),
    share=st.floats(0.01, 1.5),
)
def test_arrivals_are_sorted_and_every_cut_is_a_prefix(law, seed, count, share):
    whole = law.times(seed, "default", count=3000)
    assert whole.dtype == np.float64
    assert (np.diff(whole) >= 0).all()
    assert whole[0] >= 0
    assert np.array_equal(law.times(seed, "default", count=count), whole[:count])
    duration_s = share * float(whole[-1])
    if duration_s > 0:
        until = law.times(seed, "default", duration_s=duration_s)
        assert (until < duration_s).all()
        both = min(len(until), len(whole))
        assert np.array_equal(until[:both], whole[:both])
        assert np.array_equal(until[:3000], whole[whole < duration_s])
