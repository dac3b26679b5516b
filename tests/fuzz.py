"""Damaged recordings of every native format: each is read or refused by an AudioError, in bounded time and memory.

python tests/fuzz.py 20000 [SEED]   tries so many and says what became of them
"""

import io
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from segan_cli.audio.sources import open_file, open_stream
from segan_cli.errors import AudioError

FORMATS = {
    "wav": ("WAV", "WAVEX", "RF64"), "w64": ("W64",), "aiff": ("AIFF",), "caf": ("CAF",), "au": ("AU",),
    "flac": ("FLAC",), "ogg": ("OGG",), "mp3": ("MP3",),
}  # fmt: skip
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAC_16", "VORBIS", "OPUS", "MPEG_LAYER_III", "IMA_ADPCM")
TELLING = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0", b"\0\0", b"\xff\xff")
LONGEST_S = 20  # for one input
LARGEST = 400 << 20  # bytes that one input may add
CHUNK = 250  # inputs of a process


def corpus():
    """Small whole recordings, (ending, content)."""
    rng = np.random.default_rng(0)
    for ending, formats in FORMATS.items():
        for format in formats:
            for subtype in SUBTYPES:
                for rate_hz, channels in ((16_000, 1), (48_000, 2)):
                    content, samples = io.BytesIO(), rng.uniform(-0.5, 0.5, (rate_hz // 5, channels))
                    with suppress(soundfile.LibsndfileError, ValueError):  # formats have their own subtypes
                        soundfile.write(content, samples, rate_hz, subtype, format=format)
                        yield ending, content.getvalue()


def damaged(content, rng):
    """Content with one to four damages, most of them near its beginning, where the header is."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(min(len(content), rng.choice((64, 256, 100_000))))
        how = rng.randrange(6)
        if how == 0:
            content[place] ^= 1 << rng.randrange(8)
        elif how == 1:
            content[place : place + 4] = rng.choice(TELLING)
        elif how == 2:
            content[place : place + 8] = rng.randbytes(8)
        elif how == 3:
            del content[place + 1 :]
        elif how == 4:
            del content[place : place + rng.randint(1, 64)]
        else:
            content[place:place] = content[place : place + rng.randint(1, 512)]
        content = content or bytearray(1)
    return bytes(content)


def read(source):
    """All samples of a source, counted."""
    n = 0
    for block in source.blocks:
        assert block.ndim == 2
        assert block.shape[1] == source.info.channels
        n += len(block)
    return n


def attempt(ending, content, folder, by_stream):
    """Read one input; → what became of it."""
    path = folder / f"input.{ending}"
    path.write_bytes(content)
    signal.alarm(LONGEST_S)
    try:
        if by_stream:
            with io.BufferedReader(io.BytesIO(content)) as stream, open_stream(stream) as source:
                read(source)
        else:
            with open_file(path) as source:
                read(source)
    except AudioError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    finally:
        signal.alarm(0)
    return "read"


def chunk(seed):
    """CHUNK inputs of a seed; → what became of them."""
    whole, rng, outcomes = list(corpus()), random.Random(seed), Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_CPU, (CHUNK * LONGEST_S, CHUNK * LONGEST_S))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(CHUNK):
            ending, content = rng.choice(whole)
            outcomes[attempt(ending, damaged(content, rng), Path(folder), rng.random() < 0.3)] += 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < LARGEST
    return outcomes


def run(n, seed=0, processes=2):
    """So many inputs; raises when one crashes its process, takes too long or too much memory."""
    with get_context("spawn").Pool(processes, maxtasksperchild=1) as pool:
        chunks = pool.imap_unordered(chunk, range(seed, seed + -(-n // CHUNK)))
        return sum((chunks.next(timeout=CHUNK * LONGEST_S) for _ in range(-(-n // CHUNK))), Counter())


if __name__ == "__main__":
    print(dict(run(int(sys.argv[1]), *map(int, sys.argv[2:]))))
