"""Random streams: no two purposes or keys share one."""

import itertools
from pathlib import Path

import pytest
from conftest import voice
from hypothesis import given
from hypothesis import strategies as st

from segan_cli.config.training import MixingConfig
from segan_cli.data.cache import CacheEntry
from segan_cli.data.mixing import ExampleSource, draw_utterances
from segan_cli.data.noise import generate
from segan_cli.data.random_streams import Purpose, random_stream, seed_sequence
from segan_cli.data.recordings import Recording, Recordings
from segan_cli.data.training_data import draw_groups

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


def recordings(prefix, lengths):
    """Recordings of these lengths without samples, two of a group."""
    entries = [
        CacheEntry(f"{prefix}{i}", Path(), 0, n, 0.1, 0.0, 16_000, 16_000, Path()) for i, n in enumerate(lengths)
    ]
    return Recordings(
        tuple(Recording(entry.digest, f"{prefix}{i // 2}", entry, entry.length) for i, entry in enumerate(entries))
    )


SPEECH = recordings("s", range(16_000, 56_000, 1_000))


def test_a_whole_utterance_ends_after_ten_seconds():
    source = ExampleSource(recordings("s", [200_000, 160_000]), Recordings(()), Recordings(()), MixingConfig(), 16_000)
    assert {spec.length for spec in draw_utterances(source, 8, 0)} == {160_000}


NOISES = {
    "white": [0.83162, -0.98667, 0.70056],
    "pink": [1.2683, 0.06836, 0.13138],
    "brown": [1.32885, 1.44021, -0.61446],
    "hum": [-1.006, -0.69048, -0.51581],
    "speech-shaped": [1.1727, -0.8677, 2.24736],
}


@pytest.mark.parametrize(("kind", "samples"), NOISES.items())
def test_the_generated_noise_of_a_seed_stays_the_same_between_versions(kind, samples):
    quiet = 1e-3 * voice(1.0)
    assert generate(kind, 5, 16_000, 16_000, quiet)[4_000::4_000] == pytest.approx(samples, abs=1e-4)


@pytest.mark.parametrize(("seed", "groups"), [(0, {"s14", "s3"}), (1, {"s3", "s6"})])
def test_the_split_of_a_seed_stays_the_same_between_versions(seed, groups):
    assert draw_groups(SPEECH, seed) == groups


def test_of_two_large_groups_the_smaller_is_held_out():
    assert draw_groups(recordings("s", [25_000, 25_000, 20_000, 20_000]), 0) == {"s1"}


@pytest.mark.parametrize(
    ("seed", "drawn"),
    [
        (0, [("s29", 45_000, 16.048924341647965, -26.040250187760698, [("n4", 32_470), ("n3", 45_637)]),
             ("s17", 33_000, 8.440906193761435, -16.061381412637356, [("n4", 8_782), ("n3", 12_864)])]),
        (1, [("s25", 41_000, 18.20945706404972, -28.99761899987845, [("n1", 43_451)]),
             ("s9", 25_000, 10.674201437495972, -16.42378160437275, [("n4", 3_101)])]),
    ],
)  # fmt: skip
def test_the_validation_mixes_of_a_seed_stay_the_same_between_versions(seed, drawn):
    source = ExampleSource(SPEECH, recordings("n", [50_000] * 6), Recordings(()), MixingConfig(), 16_000)
    specs = draw_utterances(source, 2, seed)
    assert [
        (spec.speech.name, spec.length, spec.snr_db, spec.level_db, [(n.name, n.offset) for n in spec.noises])
        for spec in specs
    ] == drawn
