"""All measures by name, and functions to compute them for a pair of signals."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, get_args

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from segan_cli.arrays import Array
from segan_cli.config.schema import short_repr, whole_rate
from segan_cli.config.training import ValidationScore
from segan_cli.errors import AudioError, ConfigError
from segan_cli.measures import composite, standard
from segan_cli.measures.dnsmos import dnsmos
from segan_cli.measures.high_band import HighBandSignals
from segan_cli.measures.score import RATE_HZ, Score, Undefined

FULL_BAND_HZ = 48_000  # of signals whose high band is measured
INF = np.inf
RATING = 1.0, 5.0  # scale of opinion scores


class SignalPair:
    """A clean and a degraded signal [n] at 16 kHz, with cached results that several measures share."""

    def __init__(
        self, clean: Array, degraded: Array, rate_hz: int = RATE_HZ, recorded_hz: tuple[int, int] | None = None
    ) -> None:
        """Resample signals at `rate_hz`, whose recordings have the rates `recorded_hz`, by default the same."""
        self.high_band = HighBandSignals(clean, degraded, rate_hz, recorded_hz or (rate_hz, rate_hz))
        self.clean, self.degraded = resample(clean, rate_hz), resample(degraded, rate_hz)

    @cached_property
    def pesq_wb(self) -> Score:
        """Wide-band PESQ."""
        return standard.pesq_wb(self.clean, self.degraded)

    @cached_property
    def components(self) -> composite.Components | Undefined:
        """Components of the composite measures."""
        return composite.components(self.clean, self.degraded)

    @cached_property
    def dnsmos(self) -> dict[str, Score]:
        """DNSMOS of the degraded signal."""
        return dnsmos(self.degraded)

    def ssnr_db(self) -> Score:
        """Segmental SNR in dB."""
        return self.components if isinstance(self.components, Undefined) else self.components.ssnr_db

    def composite(self, name: str) -> Score:
        """A composite measure; undefined if a component is."""
        if isinstance(self.components, Undefined):
            return self.components
        if isinstance(self.pesq_wb, Undefined):
            return self.pesq_wb
        return float(np.clip(composite.COMPOSITES[name](self.components, self.pesq_wb), *RATING))


@dataclass(frozen=True)
class Measure:
    """A measure and its properties. Those whose names end in _db are in dB."""

    label: str  # in tables
    function: Callable[[SignalPair], Score]
    range: tuple[float, float]
    source: str
    package: str = "segan-cli"  # that implements it
    higher_is_better: bool | None = True  # None: the nearer to 0 the better


def of_signals(function: Callable[[Array, Array], Score]) -> Callable[[SignalPair], Score]:
    """The measure that is a function of the clean and the degraded signal at 16 kHz."""
    return lambda pair: function(pair.clean, pair.degraded)


LEVEL = "level relative to the clean recording"
LE_ROUX = "Le Roux et al. 2019, arXiv 1811.02508"
HU = "Hu and Loizou 2008, IEEE TASLP 16(1)"
GRAY = "Gray and Markel 1976, IEEE TASSP 24(5)"
P835, P808 = "Reddy et al. 2022, arXiv 2110.01763", "Reddy et al. 2021, arXiv 2010.15258"
STOI, ESTOI = "Taal et al. 2011, IEEE TASLP 19(7)", "Jensen and Taal 2016, IEEE/ACM TASLP 24(11)"

WITH_REFERENCE: dict[str, Measure] = {
    "pesq_wb": Measure("PESQ-WB", lambda pair: pair.pesq_wb, (0.999, 4.644), "ITU-T P.862.2", "pesq"),
    "pesq_nb": Measure("PESQ-NB", of_signals(standard.pesq_nb), (0.999, 4.549), "ITU-T P.862, P.862.1", "pesq"),
    "stoi": Measure("STOI", of_signals(standard.stoi), (0.0, 1.0), STOI, "pystoi"),
    "estoi": Measure("ESTOI", of_signals(standard.estoi), (0.0, 1.0), ESTOI, "pystoi"),
    "si_sdr_db": Measure("SI-SDR", of_signals(standard.si_sdr_db), (-INF, INF), LE_ROUX),
    "ssnr_db": Measure("SSNR", SignalPair.ssnr_db, composite.SSNR_DB, HU),
    "csig": Measure("CSIG", lambda pair: pair.composite("csig"), RATING, HU),
    "cbak": Measure("CBAK", lambda pair: pair.composite("cbak"), RATING, HU),
    "covl": Measure("COVL", lambda pair: pair.composite("covl"), RATING, HU),
    "lsd_db": Measure("LSD", of_signals(standard.lsd_db), (0.0, INF), GRAY, higher_is_better=False),
}
FULL_BAND: dict[str, Measure] = {
    "high_lsd_db": Measure(
        "High-band LSD", lambda pair: pair.high_band.lsd_db(), (0.0, INF), GRAY, higher_is_better=False
    ),
    "high_lsd_speech_db": Measure(
        "High-band LSD in speech", lambda pair: pair.high_band.lsd_db(True), (0.0, INF), GRAY, higher_is_better=False
    ),
    "high_pause_db": Measure(
        "High-band level in pauses", lambda pair: pair.high_band.pause_db(), (-INF, INF), LEVEL, higher_is_better=None
    ),
}
DNSMOS: dict[str, Measure] = {  # without reference
    "dnsmos_sig": Measure("DNSMOS SIG", lambda pair: pair.dnsmos["sig_mos"], RATING, P835, "speechmos"),
    "dnsmos_bak": Measure("DNSMOS BAK", lambda pair: pair.dnsmos["bak_mos"], RATING, P835, "speechmos"),
    "dnsmos_ovrl": Measure("DNSMOS OVRL", lambda pair: pair.dnsmos["ovrl_mos"], RATING, P835, "speechmos"),
    "dnsmos_p808": Measure("DNSMOS P.808", lambda pair: pair.dnsmos["p808_mos"], RATING, P808, "speechmos"),
}
MEASURES = {**WITH_REFERENCE, **FULL_BAND, **DNSMOS}
CORE = get_args(ValidationScore)


def resample(samples: Array, rate_hz: int) -> Array:
    """Samples [n] at 16 kHz, the rate of all measures but those of the high band."""
    return samples if rate_hz == RATE_HZ else np.asarray(soxr.resample(samples, rate_hz, RATE_HZ), np.float32)


def rate_for(names: Collection[str]) -> int:
    """The sampling rate at which signals are needed for measures."""
    return RATE_HZ if FULL_BAND.keys().isdisjoint(names) else FULL_BAND_HZ


def measure_all(
    clean: ArrayLike, degraded: ArrayLike, names: Sequence[str] = CORE, rate_hz: int = RATE_HZ
) -> dict[str, Score]:
    """Compute measures by name for signals [n] of equal length; all but those of the high band are of 16 kHz.

    Raises AudioError for signals of other shapes or without floating-point samples, ConfigError for other names and
    rates that are not whole numbers between 1000 and 768000.
    """
    chosen = [names] if isinstance(names, str) or not isinstance(names, Iterable) else [*names]
    if isinstance(names, str) or any(not isinstance(name, str) or name not in MEASURES for name in chosen):
        raise ConfigError(f"measures {short_repr(names)}; give a list of {', '.join(MEASURES)}")
    rate_hz = whole_rate(rate_hz)
    x, y = (signal_of(*pair) for pair in (("clean", clean), ("degraded", degraded)))
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise AudioError(f"signals of shapes {list(x.shape)} and {list(y.shape)}; give two of one shape [n]")
    return measure_pair(SignalPair(x, y, rate_hz), chosen)


def signal_of(name: str, samples: ArrayLike) -> Array:
    """Convert samples to an array; raises AudioError unless they are floats within the range of float32."""
    try:
        signal = np.asarray(samples)
    except (ValueError, TypeError, RuntimeError) as error:  # lists of unequal length, tensors that require a gradient
        raise AudioError(f"{name}: not an array of samples; give floats within ±1, [n]") from error
    if signal.dtype.kind != "f":
        raise AudioError(f"{name}: samples of type {signal.dtype}; give floats within ±1")
    with np.errstate(over="ignore"):  # an overflow becomes infinite, for which scores are undefined
        return np.asarray(signal, np.float32) if signal.dtype != np.float64 or is_huge(signal) else signal


def is_huge(signal: NDArray[Any]) -> bool:
    """Whether samples are beyond the range of float32."""
    return bool(np.abs(signal).max(initial=0.0) > np.finfo(np.float32).max)


def measure_pair(pair: SignalPair, names: Sequence[str]) -> dict[str, Score]:
    """Compute measures by name."""
    if not (np.isfinite(pair.clean).all() and np.isfinite(pair.degraded).all()):
        return dict.fromkeys(names, Undefined("samples are not finite"))
    scores = {name: MEASURES[name].function(pair) for name in names}
    return {
        name: score if isinstance(score, Undefined) or np.isfinite(score) else Undefined("no finite value")
        for name, score in scores.items()
    }


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of the packages that compute the measures; "" for a package without metadata."""
    versions = {}
    for package in sorted({"numpy", "scipy", "soxr", *(MEASURES[name].package for name in names)}):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = ""
    return versions
