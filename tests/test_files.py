"""Reading, resampling, emphasis and atomic writing."""

import contextlib
from fractions import Fraction

import numpy as np
import pytest
import soundfile
from conftest import voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.containers.side_chunks import chunk_names, copy_chunks
from segan_cli.audio.files import AudioInfo, check_writable, read_mask
from segan_cli.audio.filters import Emphasis, Resampler
from segan_cli.audio.levels import TargetOptions
from segan_cli.audio.libsndfile.writer import open_for_writing
from segan_cli.audio.sinks import open_target
from segan_cli.audio.sources import open_file, read_mono
from segan_cli.errors import AudioError, SeganError

PLAIN = AudioInfo(16_000, 1, None, "WAV", "PCM_16")


def probe(path):
    """The properties of a file."""
    with open_file(path) as source:
        return source.info


@settings(max_examples=50)
@given(st.integers(1, 2000), st.lists(st.integers(0, 2000), max_size=5), st.integers(1, 2))
def test_deemphasis_undoes_preemphasis_over_any_blocks(length, cuts, channels):
    signal = np.random.default_rng(length).standard_normal((channels, length)).astype(np.float32)
    there, back = Emphasis(0.95, channels), Emphasis(0.95, channels, inverse=True)
    blocks = np.split(signal, sorted(min(c, length) for c in cuts), axis=1)
    output = np.concatenate([back.push(there.push(block)) for block in blocks], axis=1)
    np.testing.assert_allclose(output, signal, atol=1e-4)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 44100, 48000])
def test_resampling_there_and_back_keeps_time_and_sound(rate_hz):
    signal = sweep(rate_hz)
    there, back = Resampler(rate_hz, 16_000, 1), Resampler(16_000, rate_hz, 1)
    blocks = np.array_split(signal[None], 7, axis=1)
    middle = [there.push(block) for block in blocks] + [there.push(np.zeros((1, 0), np.float32), last=True)]
    output = [back.push(block) for block in middle] + [back.push(np.zeros((1, 0), np.float32), last=True)]
    returned = np.concatenate(output, axis=1)[0, : len(signal)]
    assert abs(len(returned) - len(signal)) <= 2
    inner = slice(500, len(returned) - 500)
    np.testing.assert_allclose(returned[inner], signal[inner], atol=2e-3)


def sweep(rate_hz):
    """A tone that glides from 100 to 3000 Hz in one second."""
    t = np.arange(rate_hz) / rate_hz
    return (0.5 * np.sin(2 * np.pi * (100 * t + 1450 * t**2))).astype(np.float32)


def test_reading_takes_the_mean_of_the_channels(tmp_path):
    left, right = voice(0.5, seed=1), voice(0.5, seed=2)
    soundfile.write(tmp_path / "s.wav", np.stack((left, right), 1), 16_000, "FLOAT")
    np.testing.assert_allclose(read_mono(tmp_path / "s.wav", 16_000)[0], (left + right) / 2, atol=1e-6)
    assert probe(tmp_path / "s.wav").channels == 2
    with open_file(tmp_path / "s.wav") as source:
        assert sum(block.shape[1] for block in source.blocks) == 8000


def test_the_bit_rate_of_a_lossless_input_is_not_that_of_a_lossy_output(tmp_path):
    soundfile.write(tmp_path / "in.wav", voice(1.0), 16_000)
    for name, source in (("a.mp3", tmp_path / "in.wav"), ("b.mp3", None)):
        with open_for_writing(tmp_path / name, PLAIN, source, None, print) as file:
            file.write(voice(1.0))
    assert (tmp_path / "a.mp3").read_bytes() == (tmp_path / "b.mp3").read_bytes()


@pytest.mark.parametrize("has_ffmpeg", [True, False])
def test_raw_samples_in_a_file_get_advice(tmp_path, monkeypatch, has_ffmpeg):
    if not has_ffmpeg:
        monkeypatch.setattr("segan_cli.audio.sources.find_ffmpeg", lambda: None)
    (tmp_path / "talk.raw").write_bytes(bytes(1_000))
    with (
        pytest.raises(AudioError, match=r"talk\.raw: raw samples have no header; pipe them in with --raw --rate HZ"),
        open_file(tmp_path / "talk.raw"),
    ):
        pass


def test_no_file_appears_when_writing_fails(tmp_path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"before")
    options = TargetOptions(force=True)
    with contextlib.suppress(ZeroDivisionError), open_target(target, PLAIN, options=options) as write:
        write(voice(0.5)[None])
        raise ZeroDivisionError
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("none/out.wav", "does not exist"), ("out.docx", "audio format"), ("folder.wav", "is a folder"), ("f/o.wav", "f")],
)
def test_a_place_that_cannot_be_written_is_named_before_any_work(tmp_path, name, complaint):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "f").write_text("a file where a folder should be")
    with pytest.raises(SeganError, match=complaint):
        check_writable(tmp_path / name)


def test_a_lossy_input_can_be_written_in_any_format(tmp_path):
    for source in ("in.mp3", "in.ogg"):
        soundfile.write(tmp_path / source, voice(0.5), 16_000)
        for target in ("out.wav", "out.flac", "out.ogg", "out.mp3"):
            options = TargetOptions(force=True)
            with open_target(tmp_path / target, probe(tmp_path / source), options=options) as write:
                write(voice(0.5)[None])
            assert probe(tmp_path / target).n_samples >= 8000


@pytest.mark.parametrize(
    ("name", "format", "subtype"),
    [("a.wav", "WAV", "PCM_24"), ("a.flac", "FLAC", "PCM_24"), ("a.ogg", "OGG", "VORBIS"), ("a.opus", "OGG", "OPUS")],
)
def test_the_format_follows_the_name_and_the_encoding_follows_the_input(tmp_path, name, format, subtype):
    soundfile.write(tmp_path / "in.wav", voice(0.5), 16_000, "PCM_24")
    with open_target(tmp_path / name, probe(tmp_path / "in.wav")) as write:
        write(voice(0.5)[None])
    info = probe(tmp_path / name)
    assert (info.format, info.subtype) == (format, subtype)


@pytest.mark.parametrize(
    ("after", "known", "kind"),
    [(1_000, True, b"RIFF"), (1_000, False, b"RIFF"), (2**31, True, b"RF64"), (2**31, False, b"RF64")],
)
def test_a_wav_of_more_than_4_gib_becomes_rf64(tmp_path, after, known, kind):
    """In a sparse file, with tags after the samples."""
    tagged, path = tmp_path / "tagged.wav", tmp_path / "long.wav"
    with soundfile.SoundFile(tagged, "w", 16_000, 1) as file:
        file.title = "long"
    info = AudioInfo(16_000, 1, after + 10 if known else None, "WAV", "PCM_16")
    with open_for_writing(path, info, None, None, print) as file:
        file.write(np.zeros(1))
        file.seek(after)
        file.write(np.full(10, 0.25))
    copy_chunks(tagged, path, Fraction(1), print)
    with path.open("rb") as content:
        assert content.read(4) == kind
        content.seek(20 if kind == b"RF64" else 4)
        assert int.from_bytes(content.read(8 if kind == b"RF64" else 4), "little") == path.stat().st_size - 8
    with soundfile.SoundFile(path) as file:
        assert file.frames == after + 10
        file.seek(after)
        np.testing.assert_array_equal(file.read(), 0.25)
    assert chunk_names(path) == {"LIST"}
    with open_file(path) as source:
        assert source.info.n_samples == after + 10


@pytest.mark.parametrize(("channels", "mask"), [(1, 0), (2, 0), (3, 0b111), (6, 0b111111)])
def test_the_layout_of_a_flac_follows_from_its_number_of_channels(tmp_path, channels, mask):
    soundfile.write(tmp_path / "a.flac", np.zeros((100, channels)), 16_000)
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert read_mask(file) == mask
