"""Train the network above the band of the models, and write it to pretrained/.

python tools/high_band.py --speech FOLDER … --noise FOLDER … [--mixes 1600] [--steps 2500]

Recordings are mixed at 48 kHz and enhanced by the default model; the network learns the gains of the bands above 8 kHz
from what that changed below. Folders hold recordings of 44.1 or 48 kHz. Rendered mixes are kept in --cache.
"""

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, firwin2, sosfilt
from torch.nn.functional import pad

from segan_cli import Enhancer
from segan_cli.backends.pretrained import pretrained_dir
from segan_cli.config.training import MixingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.mixing import ExampleSource
from segan_cli.data.recordings import CorpusLoader, Recordings
from segan_cli.enhancement.high_band import (
    FEATURES,
    FLOOR,
    HIGH_EDGES_HZ,
    LOOK_AHEAD,
    MIN_GAIN,
    N_HIGH,
    N_LOW,
    HighBand,
    frequency_response,
    hop_of,
    power,
)
from segan_cli.enhancement.segment_engine import SegmentEngine
from segan_cli.networks.high_band import HighBandGenerator

Array = NDArray[np.float32]

RATE_HZ, MODEL_HZ, SECONDS = 48_000, 16_000, 8
MIXING = MixingConfig(
    snr_db=(-5.0, 28.0), level_db=(-45.0, -16.0), babble_probability=0.03, second_noise_probability=0.3,
    generated_probability=0.12, generated=("white", "pink", "brown"), clean_probability=0.05,
    speechless_probability=0.05, speed_probability=0.7, speed=(0.75, 1.35), shaping_probability=0.4,
)  # fmt: skip
EQ_HZ = (0, 4_000, 6_000, 8_000, 10_000, 13_000, 16_000, 20_000, 24_000)
CUTOFFS_HZ = 9_000, 11_000, 12_000, 14_000, 16_000, 18_000, 20_000  # of voices, microphones and codecs
BATCH, FRAMES = 16, 300
INAUDIBLE = 10**-7.5  # power in a band relative to the peak of the voice, below which differences do not count
RESIDUAL = 3.0  # weight of noise that is left, relative to that of speech that is lost
WEIGHT = 5.0  # of the compressed difference, beside the logarithmic one


class Recorder:
    """Stands in for the network, and keeps the features that it would get."""

    def __init__(self) -> None:
        self.features: list[Array] = []

    def __call__(self, features: Array, state: Array | None) -> tuple[Array, Array]:
        """Keep features [1, n, 2 * FEATURES]; return gains of 1."""
        self.features.append(features[0, :, :FEATURES])
        return np.ones((*features.shape[:2], N_HIGH), np.float32), np.zeros(0, np.float32)


def vary(rng: np.random.Generator, clean: Array, noise: Array) -> tuple[Array, Array]:
    """Vary speech and noise above 8 kHz apart from below, and let noise come and go."""
    n = len(clean)
    if rng.random() < 0.5:
        clean = equalize(rng, clean, 3.0)
    if rng.random() < 0.3:
        clean = low_pass(clean, rng.choice(CUTOFFS_HZ))
    if rng.random() < 0.6:
        noise = equalize(rng, noise, 4.0)
    level = np.float32(np.sqrt(np.mean(np.square(clean)) + np.mean(np.square(noise))))
    if rng.random() < 0.12:  # of a screen or a charger
        phase = 2 * np.pi * rng.uniform(8_000, 17_000) * np.arange(n) / RATE_HZ
        wobble = rng.uniform(0, 30) * np.sin(2 * np.pi * rng.uniform(0.1, 3) * np.arange(n) / RATE_HZ)
        noise = noise + level * np.float32(10 ** rng.uniform(-3, -0.7)) * np.sin(phase + wobble).astype(np.float32)
    if rng.random() < 0.12:  # of an amplifier, or of something that blows
        low_hz = rng.uniform(6_500, 14_000)
        band = butter(3, (low_hz, min(low_hz * rng.uniform(1.2, 3), 23_500)), "bandpass", fs=RATE_HZ, output="sos")
        noise = noise + level * np.float32(10 ** rng.uniform(-3, -0.7)) * sosfilt(band, rng.standard_normal(n))
    if rng.random() < 0.3:
        noise = noise * switching(rng, n)
    if rng.random() < 0.12:
        cutoff = rng.choice(CUTOFFS_HZ)
        clean, noise = low_pass(clean, cutoff), low_pass(noise, cutoff)
    return clean.astype(np.float32), noise.astype(np.float32)


def equalize(rng: np.random.Generator, samples: Array, step_db: float) -> Array:
    """Filter by gains that wander from 0 dB at low frequencies upwards, by `step_db` from point to point."""
    gains_db = np.cumsum(rng.normal(0, step_db, len(EQ_HZ)) * (np.array(EQ_HZ) > 5_000))
    taps = firwin2(255, np.array(EQ_HZ) / EQ_HZ[-1], 10 ** (gains_db / 20))
    return np.asarray(fftconvolve(samples, taps, "same"), np.float32)


def low_pass(samples: Array, cutoff_hz: float) -> Array:
    """Remove what is above a frequency."""
    return np.asarray(sosfilt(butter(10, cutoff_hz, fs=RATE_HZ, output="sos"), samples), np.float32)


def switching(rng: np.random.Generator, n: int) -> Array:
    """Gains [n] that switch between 0 and 1 every 0.2 to 2.5 s."""
    lengths = (rng.uniform(0.2, 2.5, n // RATE_HZ * 5 + 5) * RATE_HZ).astype(int)
    gains = np.repeat((np.arange(len(lengths)) + rng.integers(2)) % 2, lengths)[:n].astype(np.float32)
    ramp = round(rng.uniform(0.002, 0.05) * RATE_HZ)
    return np.asarray(fftconvolve(gains, np.full(ramp, 1 / ramp), "same"), np.float32)


def band_powers(samples: Array) -> Array:
    """Powers of the bands above 8 kHz [frames, bands], in the frames of `HighBand`."""
    above, pooling, _ = frequency_response(RATE_HZ, MODEL_HZ)
    stage = HighBand(None, RATE_HZ, MODEL_HZ, 1, True)
    padded = np.pad(samples, (stage.hop, 2 * stage.hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * stage.hop)[:: stage.hop] * stage.frames.window
    return np.asarray(power(np.fft.rfft(frames).astype(np.complex64) * above) @ pooling[:, N_LOW:])


def render(source: ExampleSource, n_mixes: int, seed: int) -> tuple[Array, Array]:
    """Features [mixes, frames, FEATURES], and the ratio of clean to noisy powers [mixes, frames, bands]."""
    rng, enhancer = np.random.default_rng(seed), Enhancer(high_band="keep", threads=1)
    all_features, ratios = [], []
    for i in range(n_mixes):
        noisy, clean = source.render(source.draw(rng, SECONDS * RATE_HZ))
        clean, noise = vary(rng, clean, noisy - clean)
        noisy = clean + noise
        engine, recorder = SegmentEngine(enhancer.network, enhancer.settings, RATE_HZ, 1), Recorder()
        engine.high_band = HighBand(recorder, RATE_HZ, MODEL_HZ, 1, True)
        engine.push(noisy[None], last=True)
        features = np.concatenate(recorder.features)[: SECONDS * RATE_HZ // hop_of(RATE_HZ)]
        powers, target = band_powers(noisy)[: len(features)], band_powers(clean)[: len(features)]
        all_features.append(features)
        ratios.append((target + 1e-15) / (powers + 1e-15))
        if i % 50 == 49:
            print(f"{i + 1} of {n_mixes} mixes", file=sys.stderr, flush=True)
    return np.stack(all_features), np.stack(ratios).astype(np.float32)


def limit_band(rng: np.random.Generator, features: torch.Tensor) -> None:
    """Silence the upper bands of some examples, as in recordings of lower rates."""
    for example in np.flatnonzero(rng.random(len(features)) < 0.25):
        first = rng.integers(2, N_HIGH)
        features[example, :, 2 * N_LOW + first : 2 * N_LOW + N_HIGH] = np.log10(FLOOR) / 3 + 2
        features[example, :, 2 * N_LOW + N_HIGH + first :] = 0.0


def loss_of(network: HighBandGenerator, features: torch.Tensor, ratios: torch.Tensor) -> torch.Tensor:
    """The distance of enhanced from clean bands: logarithmic, and of compressed magnitudes."""
    later = pad(features[:, LOOK_AHEAD:], (0, 0, 0, LOOK_AHEAD))
    pairs = torch.cat((features, later), 2).transpose(0, 1)
    gains = network(pairs, torch.zeros(1, len(features) * N_HIGH, network.hidden))[0].transpose(0, 1)
    noisy = 10 ** (3 * (features[..., 2 * N_LOW : 2 * N_LOW + N_HIGH] - 2))
    enhanced, clean = noisy * gains.square(), noisy * ratios
    difference = torch.log10((enhanced + INAUDIBLE) / (clean + INAUDIBLE))
    logarithmic = torch.maximum(RESIDUAL * difference, -difference).mean()
    compressed = ((enhanced + FLOOR) ** 0.15 - (clean + FLOOR) ** 0.15).square().mean()
    total: torch.Tensor = logarithmic + WEIGHT * compressed
    return total


def train(features: torch.Tensor, ratios: torch.Tensor, steps: int, seed: int) -> HighBandGenerator:
    """Train on random parts of the mixes; the last twentieth of them is for validation."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = HighBandGenerator(2 * N_LOW, N_HIGH, MIN_GAIN)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.1)
    n_train = len(features) - max(1, len(features) // 20)
    for step in range(1, steps + 1):
        chosen = torch.from_numpy(rng.integers(0, n_train, BATCH))
        first = int(rng.integers(features.shape[1] - FRAMES))
        part = features[chosen, first : first + FRAMES].clone()
        limit_band(rng, part)
        loss = loss_of(network, part, ratios[chosen, first : first + FRAMES])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 500 == 0 or step == steps:
            with torch.no_grad():
                valid = loss_of(network, features[n_train:], ratios[n_train:])
            print(f"step {step}: {loss:.4f}, validation {valid:.4f}", file=sys.stderr, flush=True)
    return network


def export(network: HighBandGenerator, path: Path) -> None:
    """Write the network as ONNX."""
    content: Any = io.BytesIO()
    torch.onnx.export(
        network, (torch.zeros(8, 1, 2 * FEATURES), torch.zeros(1, N_HIGH, network.hidden)), content,
        input_names=["features", "state"], output_names=["gains", "next_state"], opset_version=17, dynamo=False,
        dynamic_axes={
            "features": {0: "frames", 1: "signals"}, "state": {1: "rows"}, "gains": {0: "frames", 1: "signals"},
            "next_state": {1: "rows"},
        },
    )  # fmt: skip
    onnx.checker.check_model(onnx.load_from_string(content.getvalue()))
    path.write_bytes(content.getvalue())


def command_of(arguments: argparse.Namespace) -> str:
    """The command with the names of the folders alone, whose places differ between machines."""
    speech, noise = (" ".join(Path(folder).name for folder in side) for side in (arguments.speech, arguments.noise))
    numbers = f"--mixes {arguments.mixes} --steps {arguments.steps} --seed {arguments.seed}"
    return f"python tools/high_band.py --speech {speech} --noise {noise} {numbers}"


def main() -> None:
    """Render the mixes, train, and write the network with its entry in the index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", nargs="+", required=True)
    parser.add_argument("--noise", nargs="+", required=True)
    parser.add_argument("--mixes", type=int, default=1_600)
    parser.add_argument("--steps", type=int, default=2_500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path("runs/high-band"))
    parser.add_argument("--output", type=Path, default=pretrained_dir() / "high-band.onnx")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mixes = arguments.cache / f"mixes-{arguments.seed}-{arguments.mixes}.npz"
    loader = CorpusLoader(Cache(arguments.cache, RATE_HZ), None)
    pool = loader.load(tuple(arguments.speech), tuple(arguments.noise), (), "training")
    if not mixes.exists():
        source = ExampleSource(pool.speech, pool.noise, Recordings(()), MIXING, RATE_HZ)
        features, ratios = render(source, arguments.mixes, arguments.seed)
        np.savez(mixes, features=features, ratios=ratios)
    with np.load(mixes) as arrays:
        data = torch.from_numpy(arrays["features"]), torch.from_numpy(arrays["ratios"])
    export(train(*data, arguments.steps, arguments.seed), arguments.output)
    index_path = pretrained_dir() / "index.json"
    index = json.loads(index_path.read_text(encoding="utf-8"))
    index["high_band"] = {
        "file": arguments.output.name,
        "sha256": hashlib.sha256(arguments.output.read_bytes()).hexdigest(),
        "command": command_of(arguments),
        "data": [
            f"{Path(s.path).name}: {s.utterances} {s.unit}, {s.seconds / 3600:.2f} h of {s.kind}"
            for s in loader.summaries
        ],
        "bands_hz": [round(edge) for edge in HIGH_EDGES_HZ],
    }
    index_path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
