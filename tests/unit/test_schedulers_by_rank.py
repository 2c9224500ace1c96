"""Schedulers that order the queue: small cases worked out by hand (see `tests.hand_worked`)."""

import numpy as np
import pytest

from tests.hand_worked import alone, served


def order(kind, arrival_s, output_tokens, **options):
    return alone(served(kind, arrival_s, output_tokens, **options)[0])


# Two requests of 4 + 6 tokens, the second half a second later, in room for 12 tokens. In iteration
# i the first holds 3 + i tokens, the second 2 + i: together 11 in the third one, 13 in the fourth.
SHORT_OF_KV = {
    "arrival_s": [0.0, 0.5],
    "output_tokens": [6, 6],
    "prompt_tokens": 4,
    "seats": 2,
    "usable_blocks": 12,
}


# -- fcfs


def test_fcfs_serves_in_order_of_arrival():
    assert order("fcfs", [0.0, 0.5, 0.6], [3, 2, 1]) == "AAABBC"


def test_fcfs_preempts_the_last_admitted_who_comes_back_when_all_it_had_fits():
    """B has given two tokens, so needs 6; A leaves 12 - 7 = 5 at first, and then less."""
    timeline, requests = served("fcfs", **SHORT_OF_KV)
    assert timeline == "A AB AB A A A B B B B"
    assert requests["preemptions"].tolist() == [0, 1]


# -- priority


def test_priority_serves_the_lowest_number_first_and_equals_by_arrival():
    """A runs, and does not make way, though its number is the highest."""
    facts = {"priority": np.array([5, 2, 1, 1])}
    assert order("priority", [0.0, 0.5, 0.6, 0.7], [3, 1, 1, 1], facts=facts) == "AAACDB"


def test_priority_preempts_the_highest_number():
    """A has given three tokens, so needs 7; B leaves 12 - 6 = 6 at first, and then less."""
    timeline, requests = served("priority", facts={"priority": np.array([1, 0])}, **SHORT_OF_KV)
    assert timeline == "A AB AB B B B B A A A"
    assert requests["preemptions"].tolist() == [1, 0]


# -- sjf


def test_sjf_serves_the_shortest_first_and_nobody_makes_way():
    assert order("sjf", [0.0, 0.5, 0.6, 0.7], [5, 4, 2, 2]) == "AAAAA" + "CC" + "DD" + "BBBB"


def test_sjf_promotes_who_has_waited_too_long():
    """A until 3, C until 5, E until 7. B has then waited for 6.5 seconds, and D for 6.3.

    With a limit of 5, B and D go by their waits; with one of 60, by their lengths.
    """
    arrival_s, tokens = [0.0, 0.5, 0.6, 0.7, 4.5], [3, 4, 2, 3, 2]
    served_first = "AAA" + "CC" + "EE"
    assert order("sjf", arrival_s, tokens, starvation_s=5.0) == served_first + "BBBB" + "DDD"
    assert order("sjf", arrival_s, tokens, starvation_s=60.0) == served_first + "DDD" + "BBBB"


def test_sjf_preempts_the_longest():
    """As `SHORT_OF_KV`, but A has 7 tokens to give: it is the longer one, and goes."""
    longer = {**SHORT_OF_KV, "output_tokens": [7, 6]}
    assert served("sjf", **longer)[0] == "A AB AB B B B B A A A A"


# -- srpt


def test_srpt_displaces_who_has_more_left():
    """At 3 s A has 7 tokens to go, B 2. A has given 3 of 10, less than 0.8 of them."""
    timeline, requests = served("srpt", [0.0, 2.5], [10, 2])
    assert alone(timeline) == "AAA" + "BB" + "AAAAAAA"
    assert requests["preemptions"].tolist() == [1, 0]


def test_srpt_leaves_alone_who_has_as_little_left_or_is_no_longer_young():
    assert order("srpt", [0.0, 2.5], [5, 2]) == "AAAAA" + "BB"
    assert order("srpt", [0.0, 2.5], [10, 2], preemptible_frac=0.3) == "A" * 10 + "BB"
    assert order("srpt", [0.0, 2.5], [10, 2], preemptible_frac=0.31) == "AAABBAAAAAAA"


# -- edf


def test_edf_serves_the_nearest_deadline_first_and_who_has_none_last():
    """Deadlines: none, none, 100.6, 10.7. A runs, and does not make way."""
    facts = {"due_s": np.array([np.inf, np.inf, 100.0, 10.0])}
    assert order("edf", [0.0, 0.5, 0.6, 0.7], [3, 2, 2, 2], facts=facts) == "AAADDCCBB"


def test_edf_preempts_the_furthest_deadline():
    facts = {"due_s": np.array([30.0, 20.0])}
    assert served("edf", facts=facts, **SHORT_OF_KV)[0] == "A AB AB B B B B A A A"


# -- llf


@pytest.mark.parametrize(("pace_s", "expected"), [(1.0, "AAABBBBBC"), (0.1, "AAACBBBBB")])
def test_llf_serves_the_least_slack_first(pace_s, expected):
    """B is due at 8.5, with 5 tokens to go; C at 6.6, with one.

    At a second a token B has to start by 3.5 and C by 5.6; at a tenth, by 8.0 and by 6.5.
    """
    facts = {"due_s": np.array([np.inf, 8.0, 6.0])}
    told = order("llf", [0.0, 0.5, 0.6], [3, 5, 1], facts=facts, seconds_per_token=pace_s)
    assert told == expected


def test_llf_learns_how_long_tokens_take():
    """A's two tokens after the first took two seconds; then as above. Before A, nothing is known.

    So the same three requests at the start are served by deadline alone.
    """
    facts = {"due_s": np.array([np.inf, np.inf, 8.0, 6.0])}
    told = order("llf", [0.0, 3.0, 3.5, 3.6], [3, 3, 5, 1], facts=facts)
    assert told == "AAA" + "BBB" + "CCCCC" + "D"
    facts = {"due_s": np.array([np.inf, 8.0, 6.0])}
    assert order("llf", [0.0, 0.5, 0.6], [3, 5, 1], facts=facts) == "AAACBBBBB"


# -- no_evict


def test_no_evict_waits_until_prompt_and_cap_of_all_fit():
    """Each reserves 4 + 6 of 20 tokens, though it gives only 2: two at a time, with three seats."""
    options = {"prompt_tokens": 4, "seats": 3, "usable_blocks": 20}
    arrival_s, tokens = [0.0, 0.5, 0.6], [2, 2, 2]
    assert served("no_evict", arrival_s, tokens, max_tokens=6, **options)[0] == "A AB BC C"
    assert served("fcfs", arrival_s, tokens, max_tokens=6, **options)[0] == "A ABC BC"


def test_no_evict_reserves_all_that_a_model_can_do_where_nobody_gives_a_cap():
    options = {"prompt_tokens": 4, "seats": 3, "usable_blocks": 20}
    assert order("no_evict", [0.0, 0.5, 0.6], [2, 2, 2], **options) == "AABBCC"
