"""A thousand damaged recordings a run; tests/fuzz.py tries more."""

import fuzz


def test_damaged_recordings_are_read_or_refused():
    outcomes = fuzz.run(1_000)
    assert outcomes["read"] + outcomes["refused"] == 1_000
    assert min(outcomes.values()) > 100


def test_nothing_that_is_cut_or_joined_is_lost_in_silence():
    outcomes = fuzz.run(250, kind=fuzz.lengths)
    assert set(outcomes) <= {"read", "read, said", "refused"}
    assert outcomes["read, said"] > 20
