"""Every measure by name: what it is, and how a pair of signals is measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from segan_cli.measures import composite, distortion, non_intrusive, standard
from segan_cli.measures.score import Score, Undefined

Array = NDArray[np.float32]

RATE_HZ = 16_000  # at which everything is measured


class Pair:
    """A clean signal and a degraded one [n] at 16 kHz, and what several measures need of them, computed once."""

    def __init__(self, clean: Array, degraded: Array) -> None:
        self.clean, self.degraded = clean, degraded

    @cached_property
    def pesq_wb(self) -> Score:
        """Wide-band PESQ."""
        return standard.pesq_wb(self.clean, self.degraded)

    @cached_property
    def parts(self) -> composite.Parts | Undefined:
        """What the composites are made of."""
        return composite.parts(self.clean, self.degraded)

    @cached_property
    def dnsmos(self) -> dict[str, Score]:
        """What is predicted for the degraded signal alone."""
        return non_intrusive.dnsmos(self.degraded)

    def ssnr_db(self) -> Score:
        """Segmental SNR in dB."""
        return self.parts if isinstance(self.parts, Undefined) else self.parts.ssnr_db

    def composite(self, formula: Callable[[composite.Parts, float], float]) -> Score:
        """One of the composites, undefined where one of its parts is."""
        if isinstance(self.parts, Undefined):
            return self.parts
        return self.pesq_wb if isinstance(self.pesq_wb, Undefined) else formula(self.parts, self.pesq_wb)


@dataclass(frozen=True)
class Measure:
    """One measure; all work at 16 kHz."""

    label: str  # in tables
    function: Callable[[Pair], Score]
    range: tuple[float, float]
    source: str
    package: str = "segan-cli"  # whose code it is
    unit: str = ""
    higher_is_better: bool = True


HU = "Hu and Loizou 2008, IEEE TASLP 16(1)"
P835 = "Reddy et al. 2022, arXiv 2110.01763"

WITH_REFERENCE: dict[str, Measure] = {
    "pesq_wb": Measure("PESQ-WB", lambda pair: pair.pesq_wb, (1.04, 4.64), "ITU-T P.862.2", "pesq"),
    "pesq_nb": Measure(
        "PESQ-NB",
        lambda pair: standard.pesq_nb(pair.clean, pair.degraded),
        (1.02, 4.55),
        "ITU-T P.862, P.862.1",
        "pesq",
    ),
    "stoi": Measure(
        "STOI",
        lambda pair: standard.stoi(pair.clean, pair.degraded),
        (0.0, 1.0),
        "Taal et al. 2011, IEEE TASLP 19(7)",
        "pystoi",
    ),
    "estoi": Measure(
        "ESTOI",
        lambda pair: standard.estoi(pair.clean, pair.degraded),
        (0.0, 1.0),
        "Jensen and Taal 2016, IEEE/ACM TASLP 24(11)",
        "pystoi",
    ),
    "si_sdr_db": Measure(
        "SI-SDR",
        lambda pair: distortion.si_sdr_db(pair.clean, pair.degraded),
        (-np.inf, np.inf),
        "Le Roux et al. 2019, arXiv 1811.02508",
        unit="dB",
    ),
    "ssnr_db": Measure("SSNR", Pair.ssnr_db, composite.SSNR_DB, HU, unit="dB"),
    "csig": Measure("CSIG", lambda pair: pair.composite(composite.csig), (1.0, 5.0), HU),
    "cbak": Measure("CBAK", lambda pair: pair.composite(composite.cbak), (1.0, 5.0), HU),
    "covl": Measure("COVL", lambda pair: pair.composite(composite.covl), (1.0, 5.0), HU),
    "lsd_db": Measure(
        "LSD",
        lambda pair: distortion.lsd_db(pair.clean, pair.degraded),
        (0.0, np.inf),
        "Gray and Markel 1976, IEEE TASSP 24(5)",
        unit="dB",
        higher_is_better=False,
    ),
}
NON_INTRUSIVE: dict[str, Measure] = {
    "dnsmos_sig": Measure("DNSMOS SIG", lambda pair: pair.dnsmos["sig_mos"], (1.0, 5.0), P835, "speechmos"),
    "dnsmos_bak": Measure("DNSMOS BAK", lambda pair: pair.dnsmos["bak_mos"], (1.0, 5.0), P835, "speechmos"),
    "dnsmos_ovrl": Measure("DNSMOS OVRL", lambda pair: pair.dnsmos["ovrl_mos"], (1.0, 5.0), P835, "speechmos"),
    "dnsmos_p808": Measure(
        "DNSMOS P.808",
        lambda pair: pair.dnsmos["p808_mos"],
        (1.0, 5.0),
        "Reddy et al. 2021, arXiv 2010.15258",
        "speechmos",
    ),
}
MEASURES = {**WITH_REFERENCE, **NON_INTRUSIVE}
CORE = ("pesq_wb", "stoi", "si_sdr_db")  # by which trainings are validated and models are shipped


def measure_all(clean: Array, degraded: Array, names: Sequence[str] = CORE) -> dict[str, Score]:
    """Measures by name of one pair of equal length, [n] at 16 kHz."""
    if not (np.isfinite(clean).all() and np.isfinite(degraded).all()):
        return dict.fromkeys(names, Undefined("samples that are not finite"))
    pair = Pair(clean, degraded)
    return {name: checked(MEASURES[name].function(pair)) for name in names}


def checked(score: Score) -> Score:
    """Undefined where arithmetic gave no number."""
    return score if isinstance(score, Undefined) or np.isfinite(score) else Undefined("no finite value")


def packages(names: Sequence[str]) -> dict[str, str]:
    """Versions of the packages whose code measures, by name; "" for one that is not installed as a package."""
    found = {}
    for package in sorted({"numpy", "scipy", "soxr", *(MEASURES[name].package for name in names)}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = ""
    return found
