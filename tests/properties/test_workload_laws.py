import gzip

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from workloads.arrivals import AllAtOnceArrivals, DeterministicArrivals, PoissonArrivals
from workloads.traces import azure_llm, read_trace

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
