import gzip
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.rng import uniforms
from workloads.arrivals import AllAtOnceArrivals, DeterministicArrivals, PoissonArrivals
from workloads.lengths import (
    ConstantLength,
    LognormalLength,
    LognormalMixtureLength,
    UniformLength,
)
from workloads.traces import azure_llm, read_trace

DRAWS = 20_000
# One wrong alarm in 1e9 examples: ln(2 / 1e-9).
RARE = math.log(2e9)

seeds = st.integers(-(2**63), 2**63)
mus = st.floats(-2, 12)
sigmas = st.floats(0.01, 3)


@st.composite
def bounds(draw):
    low = draw(st.integers(0, 3000))
    return {"min": low, "max": low + draw(st.integers(0, 40_000))}


@st.composite
def mixtures(draw):
    shares = draw(st.lists(st.integers(1, 100), min_size=1, max_size=4))
    return LognormalMixtureLength(
        weights=[share / sum(shares) for share in shares],
        mu=[draw(mus) for _ in shares],
        sigma=[draw(sigmas) for _ in shares],
        **draw(bounds()),
    )


laws = st.one_of(
    st.builds(ConstantLength, tokens=st.integers(0, 40_000)),
    bounds().map(lambda both: UniformLength(**both)),
    st.builds(
        lambda mu, sigma, both: LognormalLength(mu=mu, sigma=sigma, **both), mus, sigmas, bounds()
    ),
    mixtures(),
)


@settings(deadline=None, max_examples=60)
@given(law=laws, seed=seeds)
def test_draws_follow_the_law(law, seed):
    low, high = law.support()
    drawn = law.quantile(uniforms(seed, "answer", "default", DRAWS)[:, 0])
    assert drawn.dtype == np.int64
    assert drawn.min() >= low
    assert drawn.max() <= high

    tokens = np.arange(low - 1, high + 1)
    survival = law.survival(tokens)
    assert survival[0] == 1
    assert survival[-1] == 0
    assert (np.diff(survival) <= 0).all()
    # Dvoretzky-Kiefer-Wolfowitz: the largest gap between the law and what was drawn.
    at_or_below = np.searchsorted(np.sort(drawn), tokens, side="right")
    assert np.abs(1 - at_or_below / DRAWS - survival).max() <= math.sqrt(RARE / (2 * DRAWS))

    # The mean, within the standard error by Bernstein's bound (valid however skewed the law is).
    above_low = np.arange(high - low)
    second_moment = float(((2 * above_low + 1) * survival[1:-1]).sum())
    variance = max(second_moment - (law.mean() - low) ** 2, 0.0)
    tolerance = math.sqrt(2 * variance * RARE / DRAWS) + 2 * (high - low) * RARE / (3 * DRAWS)
    assert abs(drawn.mean() - law.mean()) <= tolerance + 1e-6
    assert low <= law.mean() <= high + 1e-6


@settings(deadline=None, max_examples=40)
@given(law=laws, seed=seeds, start=st.integers(0, 2**40), count=st.integers(1, 50))
def test_a_length_depends_only_on_its_own_uniform(law, seed, start, count):
    whole = law.quantile(uniforms(seed, "prompt", "default", 60, start)[:, 0])
    first = law.quantile(uniforms(seed, "prompt", "default", count, start)[:, 0])
    assert np.array_equal(first, whole[:count])
    last = law.quantile(uniforms(seed, "prompt", "default", 1, start + 59)[:, 0])
    assert last[0] == whole[59]


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


times = st.builds(
    "{}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
    st.sampled_from([1900, 1970, 2023, 2099]),
    st.integers(1, 12),
    st.integers(1, 31),
    st.sampled_from(" T"),
    st.integers(0, 24),
    st.integers(0, 60),
    st.integers(0, 60),
    st.from_regex(r"\A(\.[0-9]{1,10})?\Z"),
    st.sampled_from(["", "", "", "Z", "+05:30", "-14:59", "+0530"]),
)
counts = st.one_of(
    st.integers(0, 4000).map(str),
    st.sampled_from(
        ["0", "-1", "1.0", "1e3", "NaN", "", "007", "+5", "0x1f", "9" * 10, '"3"', "٣"]
    ),
)
good_rows = st.builds(
    "2023-11-16 18:{:02}:{:02}.{:07},{},{}".format,
    st.integers(0, 59),
    st.integers(0, 59),
    st.integers(0, 9_999_999),
    st.integers(0, 4000),
    st.integers(0, 4000),
)
any_rows = st.one_of(
    good_rows,
    st.builds("{},{},{}".format, times, counts, counts),
    st.text(alphabet='0123456789-:., TZ+\t"\x00é', max_size=40),
)


@st.composite
def files(draw):
    """A trace file, possibly damaged: odd rows, foreign bytes, cut short, compressed."""
    rows = draw(st.lists(draw(st.sampled_from([good_rows, any_rows])), max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    content = end.join([azure_llm.HEADER, *rows]).encode()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(content)))
        content = (
            content[:at] + draw(st.binary(max_size=5)) + content[at + draw(st.integers(0, 3)) :]
        )
    if draw(st.booleans()):
        content = gzip.compress(content, mtime=0)
        if draw(st.booleans()):
            content = content[: draw(st.integers(2, len(content)))]
    return content


@settings(deadline=None, max_examples=300)
@given(content=st.one_of(files(), st.binary(max_size=200)))
def test_a_file_is_read_or_refused_by_name(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("trace") / "trace.csv"
    path.write_bytes(content)
    problems = []
    try:
        rows, _ = read_trace(path)
    except InputError as error:
        problems = error.problems
    if problems:
        assert all(problem.file == str(path) and problem.message for problem in problems)
    else:
        assert len(rows.arrival_s) == len(rows.prompt_tokens) == len(rows.answer_tokens) > 0
        assert (np.diff(rows.arrival_s) >= 0).all()
        assert rows.arrival_s[0] >= 0
        assert min(rows.prompt_tokens.min(), rows.answer_tokens.min()) >= 1


@settings(deadline=None, max_examples=300)
@given(rows=st.lists(any_rows, max_size=6), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_the_fast_and_the_careful_parser_read_the_same(rows, end):
    content = end.join([azure_llm.HEADER, *rows]).encode()
    fast = azure_llm._parse_fast(content)
    try:
        careful = azure_llm._parse_carefully(content, "trace.csv")
    except InputError:
        assert fast is None
    else:
        # None for a file with rows would mean that good files are read slowly.
        for quick, slow in zip(fast or ([], [], []), careful, strict=True):
            assert np.array_equal(quick, slow)
