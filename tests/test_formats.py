"""Every container, rate and channel count comes back as it went in, and at the same time."""

import dataclasses
from itertools import cycle

import numpy as np
import pytest
import soundfile
from commands import segan
from conftest import Identity, hiss, voice

from segan_cli.audio.wav import Encoding
from segan_cli.config.presets import PRESETS
from segan_cli.enhancement.enhancer import Enhancer
from segan_cli.networks.checkpoint import Model

RATES_HZ = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)
CHANNELS = (1, 2, 6)
ENCODINGS = {  # ending → libsndfile's format and encodings to try
    "wav": ("WAV", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")),
    "w64": ("W64", ("PCM_16", "FLOAT")),
    "rf64": ("RF64", ("PCM_16", "FLOAT")),
    "flac": ("FLAC", ("PCM_S8", "PCM_16", "PCM_24")),
    "aiff": ("AIFF", ("PCM_16", "FLOAT")),
    "caf": ("CAF", ("PCM_16", "PCM_24")),
    "au": ("AU", ("PCM_16", "ULAW")),
    "ogg": ("OGG", ("VORBIS",)),
    "opus": ("OGG", ("OPUS",)),
    "mp3": ("MP3", ("MPEG_LAYER_III",)),
}
LOSSY = ("VORBIS", "OPUS", "MPEG_LAYER_III")
STEPS = {"PCM_U8": 2**-7, "PCM_S8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 1e-6}


@pytest.fixture(scope="module")
def identity():
    model = Model(Identity(), dataclasses.replace(PRESETS["segan-spectral"]), {})
    return Enhancer(model, device="cpu", high_band="keep")


def write(path, samples, rate_hz, format, subtype):
    """Whether libsndfile can write this at all."""
    try:
        soundfile.write(path, samples, rate_hz, subtype, format=format)
    except soundfile.LibsndfileError:
        return False
    return True


@pytest.mark.parametrize("ending", ENCODINGS)
def test_length_rate_channels_and_encoding_are_kept(identity, ending, tmp_path):
    format, subtypes = ENCODINGS[ending]
    tried = 0
    every = [(subtypes[0], rate_hz, channels) for rate_hz in RATES_HZ for channels in CHANNELS]
    some = [(subtype, *pair) for subtype in subtypes[1:] for pair in zip(RATES_HZ, cycle(CHANNELS))]
    for subtype, rate_hz, channels in (*every, *some):
        source, target = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
        samples = 0.5 * np.stack([voice(0.3, rate_hz, seed=s) for s in range(channels)], 1)
        if not write(source, samples, rate_hz, format, subtype):
            continue
        tried += 1
        identity.enhance_file(source, target, force=True)
        before, after = soundfile.info(source), soundfile.info(target)
        what = f"{subtype} {rate_hz} Hz {channels} channels"
        assert (after.samplerate, after.channels) == (before.samplerate, before.channels), what
        assert (after.format, after.subtype) == (before.format, before.subtype), what
        heard, expected = (soundfile.read(path, always_2d=True)[0] for path in (target, source))
        assert len(heard) == len(expected), what
        if subtype not in LOSSY:
            assert np.abs(heard - expected).max() <= STEPS.get(subtype, 0.04) * 1.01 + 2e-5, what
        else:
            assert delay(heard[:, 0], expected[:, 0]) == 0, what
    assert tried >= 6


def delay(late, early):
    """Samples by which one lags behind the other, to the nearest."""
    n = 2 * max(len(late), len(early))
    correlation = np.fft.irfft(np.fft.rfft(late, n) * np.conj(np.fft.rfft(early, n)), n)
    lag = int(np.argmax(correlation))
    return lag - n if lag > n // 2 else lag


@pytest.mark.parametrize("name", ["a.wav 8", "a.wav 16", "a.aiff 24", "a.flac 16", "pipe 16"])
def test_samples_are_rounded_to_the_nearest_of_an_encoding_with_integers(tmp_path, name):
    name, bits = name.split()
    sound = hiss(0.5, level=0.2)
    if name == "pipe":
        encoding = Encoding(16_000, 1, f"PCM_{bits}")
        written = encoding.decode(encoding.encode(sound[None]))[0].astype(np.float64)
    else:
        soundfile.write(tmp_path / "in.wav", sound, 16_000, "FLOAT")
        words = (tmp_path / "in.wav", "-o", tmp_path / name, "--strength", 0, "--subtype", f"pcm{bits}")
        assert segan("enhance", *words).returncode == 0
        written, _ = soundfile.read(tmp_path / name, dtype="float64")
    error = (written - sound) * 2 ** (int(bits) - 1)
    assert np.abs(error).max() <= 0.5
    assert abs(error.mean()) < 0.02
