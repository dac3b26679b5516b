"""Random streams: no two purposes or keys share one."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from segan_cli.data.random_streams import Purpose, random_stream, seed_sequence

KEYS = st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple)


def test_streams_differ_where_numbers_padded_with_zeros_would_not():
    first = {}
    for purpose, n in itertools.product(Purpose, range(4)):
        for key in itertools.product((0, 1), repeat=n):
            draw = random_stream(7, purpose, *key).bytes(16)
            assert draw not in first, f"{purpose!r} {key} has the stream of {first[draw]}"
            first[draw] = f"{purpose!r} {key}"


@given(st.tuples(st.sampled_from(Purpose), KEYS), st.tuples(st.sampled_from(Purpose), KEYS), st.integers(0, 2**64))
def test_equal_keys_and_no_others_give_equal_streams(one, other, seed):
    states = [seed_sequence(seed, purpose, *key).generate_state(4).tolist() for purpose, key in (one, other)]
    assert (states[0] == states[1]) == (one == other)


def test_streams_stay_the_same_between_versions():
    assert random_stream(0, Purpose.SEGMENT, 1, 0, 2).integers(1000, size=3).tolist() == [9, 306, 146]
