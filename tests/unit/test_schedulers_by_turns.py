"""Schedulers that take seats away, or count: small cases by hand (see `tests.hand_worked`)."""

import numpy as np
import pytest

from tests.hand_worked import alone, served


def order(kind, arrival_s, output_tokens, **options):
    return alone(served(kind, arrival_s, output_tokens, **options)[0])


# -- round_robin_chunked


def test_thinking_takes_turns():
    """Turns of 2. A thinks 4 tokens and answers 2; B thinks 2 and answers 1.

    At 2 A's turn is over, at 4 B's (it has not answered yet), at 6 A's again; B answers and leaves.
    """
    told = order(
        "round_robin_chunked", [0.0, 0.5], [6, 3], thinking_tokens=[4, 2], quantum_tokens=2
    )
    assert told == "AA" + "BB" + "AA" + "B" + "AA"


def test_answers_are_not_interrupted():
    """B has given its first answer token when its turn is over, and goes on."""
    told = order(
        "round_robin_chunked", [0.0, 0.5], [6, 3], thinking_tokens=[4, 1], quantum_tokens=2
    )
    assert told == "AA" + "BBB" + "AAAA"


@pytest.mark.parametrize(
    ("kv", "recomputed", "preemptions"),
    [("keep", [0, 0], [0, 0]), ("recompute", [2 + 4, 2], [2, 1])],
)
def test_what_turns_cost(kv, recomputed, preemptions):
    """Who leaves after k tokens had 1 + k - 1 in its KV: A leaves after 2 and 4 tokens, B after 2.

    Giving up a seat is no preemption as long as the KV is kept.
    """
    timeline, requests = served(
        "round_robin_chunked",
        [0.0, 0.5],
        [6, 3],
        thinking_tokens=[4, 2],
        quantum_tokens=2,
        kv=kv,
    )
    assert alone(timeline) == "AABBAABAA"
    assert requests["recomputed_tokens"].tolist() == recomputed
    assert requests["preemptions"].tolist() == preemptions


def test_nobody_gives_up_a_seat_while_nobody_waits():
    """A's turn is over at 2, but B comes at 4.5: then A, which has had two turns and more, goes."""
    told = order(
        "round_robin_chunked", [0.0, 4.5], [9, 1], thinking_tokens=[9, 0], quantum_tokens=2
    )
    assert told == "AAAAA" + "B" + "AAAA"


# -- mlfq

QUEUES = {"quantum_tokens": 2, "levels": 3, "prompt_weight": 0.0}


def test_mlfq_sinks_who_uses_up_a_quantum_and_new_ones_go_first():
    """Quanta of 2 and 4. A sinks at 2, B at 4, and A, the first to arrive, goes on.

    C, at the highest level, takes A's seat at 6, and then A and B are served at theirs.
    """
    told = order("mlfq", [0.0, 0.5, 5.5], [5, 3, 1], **QUEUES)
    assert told == "AA" + "BB" + "AA" + "C" + "A" + "B"


def test_mlfq_joins_below_where_the_prompt_does_not_fit():
    """A prompt of 3 does not fit a quantum of 2: B joins the second level, behind C."""
    queues = {**QUEUES, "prompt_weight": 1.0}
    told = order("mlfq", [0.0, 0.5, 0.6], [1, 1, 1], prompt_tokens=[1, 3, 1], **queues)
    assert told == "ACB"


def test_mlfq_takes_the_starving_back_to_the_top():
    """A sinks at 2 and waits while B, C and D come to the highest level.

    With a limit of 3 seconds it is there again at 5, and goes before D as it came before it.
    """
    arrival_s, tokens = [0.0, 0.5, 3.5, 5.5], [4, 2, 2, 2]
    assert order("mlfq", arrival_s, tokens, starvation_s=3.0, **QUEUES) == "AABBCC" + "AA" + "DD"
    assert order("mlfq", arrival_s, tokens, starvation_s=60.0, **QUEUES) == "AABBCC" + "DD" + "AA"


# -- plas


@pytest.mark.parametrize(
    ("program", "expected"), [("session", "AABBA" + "D" + "BBC"), ("query", "AABBA" + "CD" + "BB")]
)
def test_plas_counts_what_the_whole_program_was_given(program, expected):
    """Levels end at 2 and 6 tokens. A sinks at 2, B at 4; A goes on, and leaves at 5.

    C is of A's session, which has had two tokens when it arrives: it waits below D, behind B. As a
    query of its own it has had nothing, and goes before D.
    """
    told = order(
        "plas",
        [0.0, 0.2, 4.5, 4.6],
        [3, 4, 1, 1],
        facts={"session_id": np.array([0, 1, 0, 2])},
        program=program,
        quantum_tokens=2,
        levels=3,
        prompt_weight=0.0,
    )
    assert told == expected


# -- vtc

TOKENS = {"prompt_weight": 1.0, "output_weight": 2.0}


def test_vtc_serves_the_client_with_the_least_counter():
    """A, B, C are of one client, D and E of another. At 3 the first client stands at 1 + 2 * 3.

    Both have nothing waiting before, so the other is lifted to 7 too. B goes, as the first to
    arrive: 10 to 7, D goes: 10 to 10, then C and E by arrival.
    """
    facts = {
        "client_id": np.array([0, 0, 0, 1, 1], dtype=np.int32),
        "client_names": ("first", "second"),
    }
    told = order("vtc", [0.0, 0.5, 0.6, 0.7, 0.8], [3, 1, 1, 1, 1], facts=facts, **TOKENS)
    assert told == "AAA" + "B" + "D" + "C" + "E"


def test_vtc_charges_for_output():
    """As before, but D gives 3 tokens, for 1 + 2 * 3: the second client then stands at 14.

    Then C, with 10, goes before E.
    """
    facts = {
        "client_id": np.array([0, 0, 1, 1, 0], dtype=np.int32),
        "client_names": ("first", "second"),
    }
    told = order("vtc", [0.0, 0.5, 0.6, 0.7, 0.8], [3, 1, 3, 1, 1], facts=facts, **TOKENS)
    assert told == "AAA" + "B" + "CCC" + "E" + "D"


def test_vtc_preempts_the_last_seated_of_the_client_with_the_highest_counter():
    """A and B of one client, C of another, which is lifted to 6 at 2; 4 and 2 a second from there.

    In iteration i they hold 3 + i, 2 + i and 1 + i of 18 tokens: 18 in the fourth. In the fifth the
    counters are at 14 and 10, and B goes. It needs 7; A and C hold 14 and 16, then C alone 8.
    """
    facts = {
        "client_id": np.array([0, 0, 1], dtype=np.int32),
        "client_names": ("first", "second"),
    }
    timeline, _ = served(
        "vtc",
        [0.0, 0.5, 1.5],
        [6, 6, 6],
        prompt_tokens=4,
        seats=3,
        usable_blocks=18,
        facts=facts,
        prompt_weight=0.0,
        output_weight=2.0,
    )
    assert timeline == "A AB ABC ABC AC AC BC BC B"


# -- phase_aware

READER = {"quantum_tokens": 2, "ahead_s": 10.0, "back_s": 2.0}


def test_an_answer_ahead_of_its_reader_gives_way_to_those_who_think():
    """A answers from 2 on, 4 s of reading a token. At 5 it has given 4: 2 + 16 - 5 s in hand.

    B thinks for a turn of 2, then C, which has waited since 4.5, thinks and answers. B answers, as
    A is due only at 18 - 2.
    """
    lengths = {"thinking_tokens": [1, 2, 1]}
    arrival_s, tokens = [0.0, 4.4, 4.5], [7, 3, 2]
    slow = order("phase_aware", arrival_s, tokens, reader_tokens_per_s=0.25, **lengths, **READER)
    assert slow == "AAAAA" + "BB" + "CC" + "B" + "AA"
    fast = order("phase_aware", arrival_s, tokens, reader_tokens_per_s=10.0, **lengths, **READER)
    assert fast == "AAAAAAA" + "BB" + "CC" + "B"


def test_an_answer_that_is_due_again_takes_the_seat_of_one_that_thinks():
    """As before A gives way at 5, and its reader is 2 s from the end of what there is at 16."""
    told = order(
        "phase_aware",
        [0.0, 4.5],
        [7, 21],
        thinking_tokens=[1, 20],
        reader_tokens_per_s=0.25,
        **{**READER, "quantum_tokens": 100},
    )
    assert told == "A" * 5 + "B" * 11 + "A" * 2 + "B" * 10


# -- qoe


def test_qoe_serves_first_who_gains_most_for_its_kv():
    """At 3 B would gain 4 of 5.5 expected tokens, C 4 of 5.4; B needs 10 tokens of KV, C one."""
    told = order(
        "qoe",
        [0.0, 0.5, 0.6],
        [3, 1, 1],
        prompt_tokens=[1, 10, 1],
        ttft_s=1.0,
        reader_tokens_per_s=1.0,
        decode_tokens_per_s=1.0,
        preemptions_per_request=0.0,
    )
    assert told == "AAA" + "C" + "B"


@pytest.mark.parametrize(
    ("allowed", "expected"), [(1.0, "AAAABB" + "A" * 16), (0.0, "A" * 20 + "BB")]
)
def test_qoe_takes_the_seat_of_who_is_ahead_of_its_reader(allowed, expected):
    """A token is read in two seconds. At 4 A has the 4 that are expected 4 s later: no gain.

    B would gain all of its 2.25. At 5 A would gain 0.5 of 4.5 with a KV of 5, and B, by going on,
    1.75 of 2.75 with a KV of 2: it stays.
    """
    told = order(
        "qoe",
        [0.0, 3.5],
        [20, 2],
        ttft_s=0.0,
        reader_tokens_per_s=0.5,
        decode_tokens_per_s=1.0,
        hold=1.0,
        preemptions_per_request=allowed,
    )
    assert told == expected
