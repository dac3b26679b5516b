"""Audio in byte streams: what is written is read back, and inconsistent headers are refused in one line."""

import contextlib
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.wav import BYTES, SUBTYPES, Encoding, read_samples, read_wav_header, wav_header
from segan_cli.errors import AudioError

KINDS = sorted(set(SUBTYPES.values()))


def wav(samples, rate_hz, subtype, format="WAV"):
    content = io.BytesIO()
    soundfile.write(content, samples.T, rate_hz, subtype, format=format)
    return content.getvalue()


def noise(n, channels, seed=0):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (channels, n)).astype(np.float32)


def read(content, largest=1000):
    stream = io.BytesIO(content)
    encoding, n_bytes = read_wav_header(stream, "a pipe")
    blocks = list(read_samples(stream.read1, encoding, "a pipe", largest, n_bytes))
    assert all(0 < block.shape[1] <= largest for block in blocks)
    return encoding, np.concatenate([np.zeros((encoding.channels, 0), np.float32), *blocks], axis=1)


@settings(max_examples=40)
@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(0, 3000), st.sampled_from(["WAV", "WAVEX", "RF64"]))
def test_wav_streams_give_the_same_samples_as_libsndfile(subtype, channels, n, format):
    content = wav(noise(n, channels), 22_050, subtype, format)
    encoding, samples = read(content)
    assert replace(encoding, mask=0) == Encoding(22_050, channels, subtype)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(samples, expected.T)


@settings(max_examples=40)
@given(st.sampled_from(KINDS), st.integers(1, 6), st.lists(st.integers(0, 500), max_size=5))
def test_a_wav_stream_of_unknown_length_is_read_to_its_end(subtype, channels, lengths):
    encoding = Encoding(48_000, channels, subtype)
    blocks = [noise(n, channels, n) for n in lengths]
    for n in (0, 4_801):
        header = wav_header(encoding, n)
        assert int.from_bytes(header[4:8], "little") == len(header) - 8 + n + n % 2
    content = wav_header(encoding) + b"".join(encoding.encode(block) for block in blocks)
    found, samples = read(content, 77)
    assert found == encoding
    expected = np.concatenate([noise(0, channels), *blocks], axis=1)
    error = {"PCM_U8": 1 / 64, "ALAW": 0.04, "ULAW": 0.04, "PCM_16": 1e-4}.get(subtype, 1e-6)
    np.testing.assert_allclose(samples, expected, atol=error)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_wav_stream_raise_only_audio_errors(content):
    for start in (b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"):
        with contextlib.suppress(AudioError):  # or it was one
            read(start + content)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ((1, 0, 16_000, 0, 0, 16), "contradicts itself"),
        ((1, 2, 16_000, 0, 2, 16), "contradicts itself"),
        ((2, 1, 16_000, 0, 1, 4), "not supported"),
        ((85, 1, 16_000, 0, 1, 0), "not supported"),
    ],
)
def test_contradictory_headers_are_refused(fields, complaint):
    content = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + struct.pack("<HHIIHH", *fields) + b"data\0\0\0\0"
    with pytest.raises(AudioError, match=complaint):
        read(content)


def test_a_header_cannot_request_unbounded_memory():
    with pytest.raises(AudioError, match="ends before"):
        read(b"RIFF\0\0\0\0WAVEjunk\xf0\xff\xff\xff" + bytes(100))
    with pytest.raises(AudioError, match="a chunk of 4294967280 bytes"):
        read(b"RIFF\0\0\0\0WAVEfmt \xf0\xff\xff\xff" + bytes(100))


def test_chunks_before_the_samples_are_skipped():
    content = wav(noise(50, 1), 16_000, "PCM_16")
    long = content[:12] + b"id3 " + struct.pack("<I", 3 << 20) + bytes(3 << 20) + content[12:]
    np.testing.assert_array_equal(read(long)[1], read(content)[1])


def test_an_incomplete_last_frame_is_an_error():
    encoding = Encoding(16_000, 2, "PCM_16")
    content = wav_header(encoding) + encoding.encode(noise(10, 2)) + b"\1\2\3"
    with pytest.raises(AudioError, match="a pipe: its last sample is incomplete"):
        read(content)
    odd = Encoding(16_000, 1, "PCM_24")
    samples = noise(11, 1)
    padded = wav_header(odd) + odd.encode(samples) + b"\0"  # as sox pads a stream
    assert read(padded)[1].shape == (1, 11)
    with pytest.raises(AudioError, match="incomplete"):
        read(padded[:-2])
    assert encoding.frame_bytes == 4
    assert set(BYTES) >= set(KINDS)
