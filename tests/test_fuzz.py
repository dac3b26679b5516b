"""A thousand damaged recordings a run; tests/fuzz.py tries more."""

import fuzz


def test_damaged_recordings_are_read_or_refused():
    outcomes = fuzz.run(1_000)
    assert outcomes["read"] + outcomes["refused"] == 1_000
    assert min(outcomes.values()) > 100
