"""Random streams of a training run: an independent generator for every purpose and place.

Spawn keys keep them apart (numpy.random.SeedSequence). Keys appended to the seed would not: it is padded with zeros, so
(1,) and (1, 0) would be the same stream. Validation mixes are drawn from the seed without a key.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a stream is for, and its key."""

    SEGMENT = 0  # choices for a segment: step, round, index
    LATENT = 1  # z of a segment: step, round, index
    STEP = 2  # draws of torch in a step, such as instance noise: step, rank of the process
    REPLAY_SAMPLE = 3  # which kept examples a metric discriminator sees again: step, round, rank of the process
    REPLAY_INSERT = 4  # which kept examples are replaced: step and round, the same in all processes
    SPLIT = 5  # held-out groups: none


def seed_sequence(seed: int, purpose: Purpose, *key: int) -> np.random.SeedSequence:
    """The seed of a stream; keys are listed at each purpose."""
    return np.random.SeedSequence(seed, spawn_key=(purpose, *key))


def random_stream(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """The generator of a stream; keys are listed at each purpose."""
    return np.random.default_rng(seed_sequence(seed, purpose, *key))
