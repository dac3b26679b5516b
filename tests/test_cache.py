"""The cache decodes each content once, survives what can happen to it, and gives back what was in the files."""

import errno
import io
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.meter import active_level
from segan_cli.data import cache as module
from segan_cli.data.cache import Cache, CacheEntry, count_clipped, to_int16
from segan_cli.data.recordings import Recording, Recordings, map_shard
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.errors import AudioError, CorpusError


@pytest.fixture
def files(tmp_path):
    (tmp_path / "audio").mkdir()
    paths = [tmp_path / "audio" / f"{i}.wav" for i in range(5)]
    for i, path in enumerate(paths):
        soundfile.write(path, voice(0.5, seed=i), 16_000)
    return paths


@pytest.fixture
def decoded(monkeypatch):
    """The paths that were decoded."""
    seen = []

    def decode(path, rate_hz):
        seen.append(path.name)
        return module_decode(path, rate_hz)

    module_decode = module.decode
    monkeypatch.setattr(module, "decode", decode)
    return seen


def samples(entry):
    return map_shard(entry.shard)[entry.start : entry.start + entry.length]


def test_cached_samples_equal_those_of_the_files(files, tmp_path):
    for entry, path in zip(Cache(tmp_path / "cache", 16_000).read(files), files, strict=True):
        expected, _ = soundfile.read(path)
        assert np.abs(samples(entry) / 32767 - expected).max() < 4e-5
        assert entry.level == pytest.approx(active_level(expected.astype(np.float32)), rel=1e-3)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 48_000])
def test_files_are_resampled_and_their_channels_averaged(rate_hz, tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)
    soundfile.write(tmp_path / "stereo.wav", np.stack((tone, 0.5 * tone), 1), rate_hz)
    (entry,) = Cache(tmp_path / "cache", 16_000).read([tmp_path / "stereo.wav"])
    assert (entry.rate_hz, entry.length) == (rate_hz, 16_000)
    expected = 0.75 * 0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert np.abs(samples(entry) / 32767 - expected)[100:-100].max() < 1e-3


def test_a_file_with_known_content_is_not_decoded_again(files, tmp_path, decoded):
    cache = Cache(tmp_path / "cache", 16_000)
    first = cache.read(files)
    assert len(decoded) == 5
    assert cache.read(files) == first
    moved = files[0].rename(tmp_path / "audio" / "renamed.wav")
    twin = tmp_path / "audio" / "twin.wav"
    twin.write_bytes(files[1].read_bytes())
    assert cache.read([moved, twin]) == first[:2]
    assert len(decoded) == 5
    soundfile.write(files[2], voice(0.5, seed=9), 16_000)
    assert cache.read(files[2:])[0] != first[2]
    assert decoded[5:] == ["2.wav"]
    assert len(Cache(tmp_path / "cache", 8_000).read(files[1:])) == 4  # another rate is another matter
    assert len(decoded) == 10


def test_a_full_disk_is_reported_as_such_before_anything_is_written(files, tmp_path, monkeypatch):
    open_any = Path.open

    def full(path, *arguments, **options):
        if path.suffix == ".i16":
            raise OSError(errno.ENOSPC, "No space left on device")
        return open_any(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(CorpusError, match="No space left on device"):
        Cache(tmp_path / "cache", 16_000).read(files)


def test_unreadable_files_are_reported_and_tried_again(files, tmp_path, decoded):
    cache = Cache(tmp_path / "cache", 16_000)
    files[1].write_text("no audio")
    files[2].unlink()
    result = cache.read(files)
    assert [isinstance(entry, CacheEntry) for entry in result] == [True, False, False, True, True]
    assert "1.wav: not a readable audio file" in result[1]
    assert "2.wav: no such file" in result[2]
    soundfile.write(files[2], voice(0.5), 16_000)
    assert isinstance(cache.read(files)[2], CacheEntry)
    assert decoded.count("1.wav") == 2


def test_a_flac_file_without_frames_is_reported_as_too_short(tmp_path):
    """As of a recorder that was killed at once: its header has no length, too."""
    content = io.BytesIO()
    soundfile.write(content, voice(0.5), 16_000, format="FLAC")
    header = bytearray(content.getvalue()[:42])  # the mark, and a last block: STREAMINFO
    header[4], header[21:] = 0x80, bytes([header[21] & 0xF0]) + bytes(20)
    path = tmp_path / "a.flac"
    path.write_bytes(header)
    (entry,) = Cache(tmp_path / "cache", 16_000).read([path])
    assert (entry.length, entry.clipped) == (0, 0.0)
    with pytest.raises(AudioError, match=r"a\.flac: contains no samples"):
        Enhancer()(path)


def test_a_truncated_file_is_reported_without_advice_for_enhancing(files, tmp_path):
    files[0].write_bytes(files[0].read_bytes()[:-1000])
    reason = Cache(tmp_path / "cache", 16_000).read(files)[0]
    assert "truncated" in reason
    assert "--allow-truncated" not in reason


def test_samples_missing_from_a_truncated_shard_are_decoded_again(files, tmp_path, decoded):
    cache = Cache(tmp_path / "cache", 16_000)
    first = cache.read(files)
    shard = first[0].shard
    with shard.open("r+b") as file:
        file.truncate(2 * (first[2].start + 10))
    again = cache.read(files)
    assert decoded[5:] == ["2.wav", "3.wav", "4.wav"]
    for entry, path in zip(again, files, strict=True):
        np.testing.assert_allclose(samples(entry) / 32767, soundfile.read(path)[0], atol=4e-5)


def test_a_killed_build_continues_where_it_stopped(files, tmp_path, monkeypatch, decoded):
    monkeypatch.setattr(module, "CHUNK", 2)
    cache = Cache(tmp_path / "cache", 16_000)
    program = f"""
import os, sys
from pathlib import Path
from segan_cli.data import cache as module
module.CHUNK = 2
decode = module.decode
module.decode = lambda path, rate: os.kill(os.getpid(), 9) if path.name == "3.wav" else decode(path, rate)
module.Cache(Path({str(tmp_path / "cache")!r}), 16_000).read([Path(p) for p in sys.argv[1:]])
"""
    killed = subprocess.run([sys.executable, "-c", program, *map(str, files)], check=False)
    assert killed.returncode == -9
    assert len(cache.read(files)) == 5
    assert sorted(decoded) == ["2.wav", "3.wav", "4.wav"]


def test_three_concurrent_builds_give_the_same_samples(files, tmp_path):
    program = "import sys; from pathlib import Path; from segan_cli.data.cache import Cache; " + (
        f"Cache(Path({str(tmp_path / 'cache')!r}), 16_000).read([Path(p) for p in sys.argv[1:]])"
    )
    builders = [subprocess.Popen([sys.executable, "-c", program, *map(str, files)]) for _ in range(3)]
    assert [builder.wait() for builder in builders] == [0, 0, 0]
    for entry, path in zip(Cache(tmp_path / "cache", 16_000).read(files), files, strict=True):
        np.testing.assert_allclose(samples(entry) / 32767, soundfile.read(path)[0], atol=4e-5)


@pytest.mark.parametrize("damage", ["file", "index"])
def test_an_unusable_cache_is_refused_in_one_line(files, tmp_path, damage):
    if damage == "file":
        (tmp_path / "cache").write_text("in the way")
    else:
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "index-1.sqlite").write_text("no database at all, and long enough to be looked at" * 30)
    with pytest.raises(CorpusError, match="the cache cannot be used"):
        Cache(tmp_path / "cache", 16_000).read(files)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audio SET start = 'x'",
        "UPDATE audio SET start = 0, length = -5",
        "UPDATE audio SET length = NULL",
        "UPDATE audio SET length = 1",
        "UPDATE audio SET start = 1 - start",
        "UPDATE audio SET level = 'a'",
        "UPDATE audio SET level = 0, clipped = 1",
        "UPDATE audio SET rate_hz = 8000",
        "UPDATE audio SET shard = x'ff'",
        "UPDATE audio SET shard = CAST(x'ff' AS TEXT)",
        "UPDATE audio SET digest = NULL",
        "UPDATE files SET digest = NULL",
        "UPDATE files SET digest = (SELECT digest FROM files LIMIT 1)",
        "UPDATE files SET size = 'x', mtime_ns = -1",
        "UPDATE files SET path = CAST(x'ff' || rowid AS TEXT)",
    ],
)
def test_damaged_rows_of_the_index_are_recomputed(files, tmp_path, damage):
    cache = Cache(tmp_path / "cache", 16_000)
    first = cache.read(files)
    with sqlite3.connect(tmp_path / "cache" / "index-1.sqlite") as index:
        index.execute(damage)
    index.close()
    again = cache.read(files)
    for before, after in zip(first, again, strict=True):
        assert (after.digest, after.level, after.clipped, after.rate_hz) == (
            before.digest, before.level, before.clipped, before.rate_hz
        )  # fmt: skip
        np.testing.assert_array_equal(samples(after), samples(before))
    assert cache.read(files) == again


def test_an_index_is_prepared_by_one_process_at_a_time(tmp_path):
    found = []
    with (
        closing(sqlite3.connect(tmp_path / "index")) as index,
        closing(sqlite3.connect(tmp_path / "index", 0)) as other,
    ):

        def meanwhile(statement):
            if statement.startswith("CREATE"):
                try:
                    other.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    found.append(str(error))

        index.set_trace_callback(meanwhile)
        module.prepare(index)
    assert found == ["database is locked"] * len(module.TABLES)


def test_progress_counts_every_file(files, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    heard = []
    for _ in range(2):
        Cache(tmp_path / "cache", 16_000).read(files, lambda done, total: heard.append((done, total)))
    assert heard == 2 * [(2, 5), (4, 5), (5, 5)]


def test_clipped_speech_is_distinguished_from_loud_and_quiet_speech():
    loud = voice(1.0)
    loud *= 0.95 / np.abs(loud).max()
    assert count_clipped(loud) == 0
    assert count_clipped(np.clip(3 * loud, -0.95, 0.95)) > 160
    assert count_clipped(3 * loud) > 160  # a float file beyond full scale
    assert count_clipped(np.round(loud * 10) / 1000) == 0  # coarse, but nowhere near full scale
    assert count_clipped(np.zeros(100, np.float32)) == 0


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("excerpt")
    soundfile.write(folder / "a.wav", hiss(0.5), 16_000)
    (entry,) = Cache(folder / "cache", 16_000).read([folder / "a.wav"])
    return Recordings((Recording("a", "a", entry, 7_000),))


@settings(max_examples=50)
@given(offset=st.integers(-3_000, 12_000), length=st.integers(1, 6_000))
def test_excerpts_beyond_a_recording_are_padded_with_zeros(recordings, offset, length):
    around = np.pad(recordings.excerpt("a", 0, 7_000), (3_000, 12_000))
    np.testing.assert_array_equal(
        recordings.excerpt("a", offset, length), around[3_000 + offset : 3_000 + offset + length]
    )


def test_samples_are_rounded_to_the_nearest_of_16_bits_and_clipped():
    samples = np.array([[0.6, -0.6, 1.4, -1.4, 2.5, 3.5, 40_000.0, -40_000.0]], np.float32) / np.float32(32_767)
    assert to_int16(samples).tolist() == [1, -1, 1, -1, 2, 4, 32_767, -32_767]
