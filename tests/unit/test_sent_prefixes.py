"""The router's tree of what it sent where."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.routers.sent_prefixes import SentPrefixes
from tests.routers_support import prompts, some_facts

REPLICAS = 3
PLENTY = np.full(REPLICAS, 10**6)


def tree(*lists, limit=PLENTY):
    return SentPrefixes(some_facts(len(lists), **prompts(*lists)), np.asarray(limit))


def tokens(prompt):
    return [(segment, offset) for segment, count in prompt for offset in range(count)]


def shared(one, other):
    """Leading tokens that two prompts have in common, counted one by one."""
    count = 0
    for a, b in zip(tokens(one), tokens(other), strict=False):
        if a != b:
            break
        count += 1
    return count


prompts_of_few_segments = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=4),
    min_size=1,
    max_size=12,
)


@given(prompts_of_few_segments, st.randoms(use_true_random=False))
def test_the_match_is_the_longest_common_beginning_with_any_prompt_sent_there(lists, rng):
    sent = tree(*lists)
    there: list[list] = [[] for _ in range(REPLICAS)]
    for i, prompt in enumerate(lists):
        expected = [max((shared(prompt, old) for old in each), default=0) for each in there]
        assert sent.matched(i).tolist() == expected
        replica = rng.randrange(REPLICAS)
        sent.add(i, replica)
        there[replica].append(prompt)


@given(prompts_of_few_segments, st.integers(1, 20), st.randoms(use_true_random=False))
def test_a_part_stays_within_its_limit_and_never_holds_more_than_was_sent(lists, limit, rng):
    sent = tree(*lists, limit=[limit] * REPLICAS)
    there: list[list] = [[] for _ in range(REPLICAS)]
    for i, prompt in enumerate(lists):
        most = [max((shared(prompt, old) for old in each), default=0) for each in there]
        assert (sent.matched(i) <= np.minimum(most, limit)).all()
        replica = rng.randrange(REPLICAS)
        sent.add(i, replica)
        there[replica].append(prompt)
        assert max(sent.sizes()) <= limit
        held = [0] * REPLICAS
        below = [sent._root]
        while below:
            node = below.pop()
            below += node.children.values()
            for which, count in node.held.items():
                held[which] += count
                parent = node.parent
                assert parent is sent._root or parent.held[which] >= node.key[0]
        lonely = [
            sum(count for key, count in recent.items() if isinstance(key, int))
            for recent in sent._recent
        ]
        assert [a + b for a, b in zip(held, lonely, strict=True)] == sent.sizes()


def test_the_least_recently_sent_goes_first_and_ends_of_prompts_before_beginnings():
    head, one, two = (0, 100), (1, 50), (2, 50)
    sent = tree([head, one], [head, two], [head, one], [head, two], limit=[200, 9, 9])
    sent.add(0, 0)
    sent.add(1, 0)
    assert sent.matched(2)[0] == 150
    assert sent.matched(3)[0] == 150
    small = tree([head, one], [head, two], [head, one], [head, two], limit=[199, 9, 9])
    small.add(0, 0)
    small.add(1, 0)
    assert small.matched(2)[0] == 100
    assert small.matched(3)[0] == 150


def test_prompts_that_nobody_shares_take_room():
    sent = SentPrefixes(some_facts(4, prompt_tokens=30), np.array([70, 70, 70]))
    for i in range(3):
        assert sent.matched(i).tolist() == [0, 0, 0]
        sent.add(i, 1)
    assert sent.sizes() == [0, 60, 0]


def test_nodes_that_no_replica_holds_are_gone():
    sent = tree(*[[(k // 2, 10)] for k in range(40)], limit=[10, 10, 10])
    for i in range(40):
        sent.add(i, i % REPLICAS)
    assert len(sent._root.children) <= REPLICAS
