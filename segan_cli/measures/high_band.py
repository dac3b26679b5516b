"""Measures of the band above 8 kHz, in which full-band recordings have sound that the other measures ignore."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from segan_cli.arrays import Array
from segan_cli.measures.score import Double, Score, Undefined
from segan_cli.measures.standard import RANGE_DB, log_distances_db

BAND_HZ = 8_200.0, 20_000.0
USABLE = 0.95  # part of the band of a recording that its anti-aliasing filter leaves as it was
MIN_RECORDED_HZ = 32_000
FRAME_S, OVERLAP = 0.032, 4  # frames that begin every quarter of a frame
SPEECH_DB, PAUSE_DB = 30.0, 40.0  # below the loudest frame: the most in speech, and the least in pauses


@dataclass(frozen=True)
class Spectra:
    """Power in the band, [bins, frames], of a clean and a degraded signal."""

    clean: Double
    degraded: Double
    level_db: Double  # [frames], of all frequencies of the clean signal, relative to its loudest frame
    floor: float  # smallest power that counts


@dataclass(frozen=True)
class HighBandSignals:
    """A clean and a degraded signal [n], and the sampling rates at which they were recorded."""

    clean: Array
    degraded: Array
    rate_hz: int
    recorded_hz: tuple[int, int]

    def lsd_db(self, speech: bool = False) -> Score:
        """Log-spectral distance of the band in dB, as `standard.lsd_db`; `speech`: of frames with speech only."""
        spectra = self.spectra
        if isinstance(spectra, Undefined):
            return spectra
        distances = log_distances_db(spectra.clean, spectra.degraded, spectra.floor)
        return float(np.mean(distances[spectra.level_db >= -SPEECH_DB] if speech else distances))

    def pause_db(self) -> Score:
        """Level of the degraded over the clean signal in dB, the mean over the pauses of the clean one; 0 is best."""
        spectra = self.spectra
        if isinstance(spectra, Undefined):
            return spectra
        pauses = spectra.level_db <= -PAUSE_DB
        if not pauses.any():
            return Undefined("no pauses")
        clean, degraded = (
            np.maximum(side[:, pauses].mean(axis=0), spectra.floor) for side in (spectra.clean, spectra.degraded)
        )
        return float(np.mean(10 * np.log10(degraded / clean)))

    @cached_property
    def spectra(self) -> Spectra | Undefined:
        """Spectra of all whole frames."""
        if min(self.recorded_hz) < MIN_RECORDED_HZ:
            return Undefined(f"recorded below {MIN_RECORDED_HZ // 1000} kHz")
        if not self.clean.any():
            return Undefined("silent signal")
        n, frame = len(self.clean), round(FRAME_S * self.rate_hz)
        if n < frame:
            return Undefined("shorter than 32 ms")
        transform = ShortTimeFFT(hann(frame, sym=False), frame // OVERLAP, self.rate_hz)
        whole = {"p0": transform.lower_border_end[1], "p1": transform.upper_border_begin(n)[1]}
        clean, degraded = (
            np.abs(transform.stft(side.astype(np.float64), **whole)) ** 2 for side in (self.clean, self.degraded)
        )
        highest_hz = min(BAND_HZ[1], USABLE * self.recorded_hz[0] / 2)
        band = (transform.f >= BAND_HZ[0]) & (transform.f <= highest_hz)
        peak, floor = clean[band].max(), 10 ** (-RANGE_DB / 10)
        if peak <= floor * clean.max():
            return Undefined("no sound above 8 kHz in the clean recording")
        level_db = 10 * np.log10(np.maximum(clean.sum(axis=0) / clean.sum(axis=0).max(), 1e-30))
        return Spectra(clean[band], degraded[band], level_db, float(floor * peak))
