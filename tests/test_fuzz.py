"""Some damaged recordings and texts a run; tests/fuzz.py and fuzz_text.py try more."""

import fuzz
import fuzz_text


def test_damaged_recordings_are_read_or_refused():
    outcomes = fuzz.run(50, processes=1)
    assert outcomes["read"] + outcomes["refused"] == 50
    assert min(outcomes.values()) > 5


def test_damaged_text_is_read_or_refused():
    outcomes = fuzz_text.run(250)
    assert {became for _, became in outcomes} == {"read", "refused"}
    assert sum(outcomes.values()) == 250


def test_truncated_and_joined_recordings_are_read_or_reported():
    outcomes = fuzz.run(40, processes=1, kind=fuzz.lengths)
    assert set(outcomes) <= {"read", "read, said", "refused"}
    assert outcomes["read, said"] > 3
