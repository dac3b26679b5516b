"""Damaged recordings of every native format: each is read or refused by an AudioError, in bounded time and memory.

python tests/fuzz.py 20000 [SEED]          tries N inputs and prints the outcomes
python tests/fuzz.py lengths 5000 [SEED]   cuts and joins recordings, also of ffmpeg's containers, and counts samples
"""

import io
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
from commands import PATIENCE_S

from segan_cli.audio.sources import open_file, open_stream
from segan_cli.errors import AudioError

FORMATS = {
    "wav": ("WAV", "WAVEX", "RF64"), "w64": ("W64",), "aiff": ("AIFF",), "caf": ("CAF",), "au": ("AU",),
    "flac": ("FLAC",), "ogg": ("OGG",), "mp3": ("MP3",),
}  # fmt: skip
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAC_16", "VORBIS", "OPUS", "MPEG_LAYER_III", "IMA_ADPCM")
TELLING = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0", b"\0\0", b"\xff\xff")
CONTAINERS = {  # of ffmpeg's, by the name of a file
    "a.m4a": (), "fast.m4a": ("-movflags", "+faststart"), "a.mka": ("-c:a", "flac"), "a.webm": (), "a.tta": (),
    "a.wv": (), "a.aac": (), "a.ac3": (), "a.wma": (), "a.mp2": (), "a.voc": (),
    "vbr.mp3": ("-q:a", "6", "-write_xing", "0"),
    "plain.mp3": ("-b:a", "48k", "-write_xing", "0", "-id3v2_version", "0"), "xing.mp3": ("-q:a", "5"),
    "a.flac": (), "a.opus": (), "a.ogg": ("-c:a", "libvorbis"), "a.oga": ("-c:a", "flac"), "a.w64": (), "a.aiff": (),
}  # fmt: skip
SLACK = 5_000  # samples of a recording that two decoders may count differently: delays and fillings of codecs
LONGEST_S = 20  # of processor time, for one input
LARGEST = 400 << 20  # bytes that one input may add
CHUNK = 250  # inputs of a process
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


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


def damaged(content, rng, reaches=(64, 256, 100_000)):
    """Content with one to four damages, each within one of the first `reaches` bytes; headers are at the beginning."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(min(len(content), rng.choice(reaches)))
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
        assert block.shape[0] == source.info.channels
        n += block.shape[1]
    return n


@contextmanager
def at_most(cpu_s):
    """End the process when a block takes so much of its time, or waits for ever."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.alarm(PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def attempt(ending, content, folder, by_stream):
    """Read one input; → its outcome."""
    path = folder / f"input.{ending}"
    path.write_bytes(content)
    try:
        if by_stream:
            with at_most(LONGEST_S), io.BufferedReader(io.BytesIO(content)) as stream, open_stream(stream) as source:
                read(source)
        else:
            with at_most(LONGEST_S), open_file(path) as source:
                read(source)
    except AudioError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    return "read"


def chunk(seed, n):
    """Read many inputs of a seed; → their outcomes."""
    whole, rng, outcomes = list(corpus()), random.Random(seed), Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    resource.setrlimit(resource.RLIMIT_CPU, (n * LONGEST_S, n * LONGEST_S))
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(n):
            ending, content = rng.choice(whole)
            outcomes[attempt(ending, damaged(content, rng), Path(folder), rng.random() < 0.3)] += 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < LARGEST
    return outcomes


def made(folder):
    """Small whole recordings of ffmpeg's containers and of ours, (name, content)."""
    rng = np.random.default_rng(0)
    sound = np.concatenate([level * rng.standard_normal(16_000) for level in (0.01, 0.3, 0.0, 0.1)])
    soundfile.write(folder / "sound.wav", sound, 16_000)
    for name, how in CONTAINERS.items():
        subprocess.run([FFMPEG, "-v", "error", "-y", "-i", folder / "sound.wav", *how, folder / name], check=True)
        yield name, (folder / name).read_bytes()
    for format, subtype, ending in (
        ("WAV", "PCM_16", "wav"), ("WAVEX", "FLOAT", "wav"), ("RF64", "PCM_24", "rf64"), ("CAF", "PCM_16", "caf"),
        ("CAF", "ALAC_16", "caf"), ("AU", "ULAW", "au"), ("AIFF", "PCM_24", "aifc"), ("MP3", "MPEG_LAYER_III", "mp3"),
    ):  # fmt: skip
        content = io.BytesIO()
        soundfile.write(content, sound, 16_000, subtype, format=format)
        yield f"ours.{ending}", content.getvalue()


def cut_or_joined(content, rng):
    """Content that is cut, joined, or both, and how many recordings it is made of."""
    n = rng.choice((1, 1, 2, 3))
    pieces = [content] * n
    for i in range(n):
        if rng.random() < 0.5:
            pieces[i] = (
                content[: rng.randrange(len(content))] if rng.random() < 0.8 else content[: -rng.randint(1, 600)]
            )
    return b"".join(pieces), n


def compare(name, content, n, folder):
    """Read one input; → its outcome, compared with ffmpeg's count of its samples."""
    path = folder / name
    path.write_bytes(content)
    try:
        with at_most(LONGEST_S), open_file(path) as source:
            ours, info, notes = read(source), source.info, source.warnings
    except AudioError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    wanted = ("-f", "s16le", "-ac", "1", "-ar", str(info.rate_hz), "-")
    samples = subprocess.run([FFMPEG, "-v", "quiet", "-i", path, *wanted], capture_output=True, check=False).stdout
    if len(samples) // 2 > ours + n * SLACK * info.rate_hz // 16_000:
        return f"lost in silence: {name}" if not notes else "less than ffmpeg reads, said"
    return "read, said" if notes else "read"


def lengths(seed, n):
    """Read many inputs of a seed that are cut or joined; → their outcomes."""
    rng, outcomes = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "ffmpeg").symlink_to(FFMPEG)
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
        whole = list(made(folder))
        for _ in range(n):
            name, content = rng.choice(whole)
            outcomes[compare(name, *cut_or_joined(content, rng), folder)] += 1
    return outcomes


def run(n, seed=0, processes=2, kind=chunk):
    """So many inputs; raises when one crashes its process, takes too long or too much memory."""
    with ProcessPoolExecutor(processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        starts = range(0, n, CHUNK)
        sizes = [min(CHUNK, n - start) for start in starts]
        return sum(pool.map(kind, range(seed, seed + len(starts)), sizes), Counter())


if __name__ == "__main__":
    kind = lengths if sys.argv[1] == "lengths" else chunk
    print(dict(run(*map(int, sys.argv[1 + (kind is lengths) :]), kind=kind)))
