import numpy as np
import pytest

from simulator.errors import InputError
from simulator.quality import (
    AccuracyCurve,
    AttemptLuck,
    QualityModel,
    StabilityProbe,
    settled_tokens,
)

ROWS = 4000
MODEL = QualityModel(AccuracyCurve(0.05, 0.9, 3000.0, 1.0), 0.6, 0.4, reference_tokens=8000.0)
DIFFICULTY = (np.arange(ROWS) + 0.5) / ROWS
LUCK = AttemptLuck(1)(np.arange(ROWS), 0)
PROBE_LUCK = AttemptLuck(1, stream="probe")
NATURAL = np.random.default_rng(0).integers(100, 20_000, ROWS)


def right_after(tokens):
    return MODEL.correct(DIFFICULTY, LUCK, MODEL.effective_tokens(tokens, NATURAL))


def exits(probe):
    return probe.exit_tokens(SETTLED, NATURAL, PROBE_LUCK, np.arange(ROWS), 0)


SETTLED = settled_tokens(MODEL, DIFFICULTY, LUCK, NATURAL)


def test_settled_is_when_an_attempt_becomes_right():
    in_the_end = right_after(NATURAL)
    assert np.all((SETTLED >= 0) & (SETTLED <= NATURAL))
    assert np.all(right_after(SETTLED * 1.0001)[in_the_end])
    at_once = SETTLED < 0.01
    assert not np.any(right_after(SETTLED - 0.01)[in_the_end & ~at_once])
    assert 0 < at_once.sum() < in_the_end.sum()


def test_mistakes_settle_anywhere():
    wrong = ~right_after(NATURAL)
    part = (SETTLED / NATURAL)[wrong]
    assert np.quantile(part, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.05)


def test_the_end_is_not_probed():
    stop, probes = StabilityProbe(500).exit_tokens(
        [9e9, 9e9, 9e9], [999, 1000, 1001], PROBE_LUCK, [0, 1, 2], 0
    )
    assert stop.tolist() == [999, 1000, 1001]
    assert probes.tolist() == [1, 1, 2]


def test_a_perfect_probe_loses_no_answer():
    stop, probes = exits(StabilityProbe(every_tokens=500))
    assert np.array_equal(right_after(stop), right_after(NATURAL))
    expected = np.minimum(NATURAL, np.maximum(1, np.ceil(SETTLED / 500)) * 500)
    assert np.array_equal(stop, expected)
    assert np.all(probes == np.where(stop < NATURAL, stop // 500, (NATURAL - 1) // 500))
    assert stop.mean() < 0.75 * NATURAL.mean()


def test_false_stable_costs_answers_and_missed_stable_tokens():
    perfect = exits(StabilityProbe(500))[0]
    hasty = exits(StabilityProbe(500, false_stable=0.2))[0]
    slow = exits(StabilityProbe(500, missed_stable=0.5))[0]
    assert np.all(hasty <= perfect)
    assert right_after(hasty).mean() < right_after(perfect).mean() - 0.02
    assert np.all(slow >= perfect)
    assert slow.mean() > perfect.mean() + 200
    assert np.array_equal(right_after(slow), right_after(perfect))


def test_error_rates_are_those_stated():
    probe = StabilityProbe(500, false_stable=0.2, missed_stable=0.3)
    luck = probe.luck_of(PROBE_LUCK, np.arange(20_000), 3, 7)
    assert probe.says_stable(100, 200.0, luck).mean() == pytest.approx(0.2, abs=0.01)
    assert probe.says_stable(200, 200.0, luck).mean() == pytest.approx(0.7, abs=0.01)


def test_patience_waits_for_agreement():
    once = exits(StabilityProbe(500))[0]
    thrice = exits(StabilityProbe(500, patience=3))[0]
    assert np.array_equal(thrice, np.minimum(once + 1000, NATURAL))


def test_patience_counts_agreement_in_a_row():
    probe = StabilityProbe(500, patience=2, missed_stable=0.5, false_stable=0.2)
    stop, probes = exits(probe)
    for row in range(200):
        streak, at, number = 0, 0, 0
        while streak < 2 and at + 500 < NATURAL[row]:
            at, number = at + 500, number + 1
            luck = probe.luck_of(PROBE_LUCK, row, 0, number)
            streak = streak + 1 if probe.says_stable(at, SETTLED[row], luck) else 0
        assert stop[row] == (at if streak == 2 else NATURAL[row])
        assert probes[row] == number


def test_probes_have_luck_of_their_own():
    assert StabilityProbe(500).luck_of(PROBE_LUCK, 7, 0, 1) == PROBE_LUCK(7, 0)[0]
    assert StabilityProbe(500).luck_of(PROBE_LUCK, 7, 0, 6) == PROBE_LUCK(7, 1)[1]
    probe = StabilityProbe(500)
    first, fifth = (probe.luck_of(PROBE_LUCK, 3, 2, number) for number in (1, 5))
    assert len({float(first), float(fifth), float(probe.luck_of(PROBE_LUCK, 3, 1, 1))}) == 3


def test_bad_probe():
    with pytest.raises(InputError) as caught:
        StabilityProbe(0, -1, 0, 1.5, -0.5)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["every_tokens", "tokens", "patience", "false_stable", "missed_stable"]
