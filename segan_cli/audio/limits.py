"""What the encoders of libsndfile support: sampling rates and numbers of channels.

It checks little itself: Vorbis above 200 kHz ends the process, and 8SVX gets a wrong rate.
"""

from dataclasses import dataclass

MP3_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
FLAC_LARGEST_HZ, FLAC_STEP_HZ = 65_535, 10  # above it, rates are stored in steps


@dataclass(frozen=True)
class Limits:
    """The limits of one encoding; None: none that matters."""

    name: str
    channels: int | None = None  # at most
    rates_hz: tuple[int, ...] = ()  # no others
    largest_hz: int | None = None

    def complaint(self, rate_hz: int, channels: int) -> str | None:
        """Return which limit a recording exceeds, and what to do; None if it fits."""
        if self.channels is not None and channels > self.channels:
            most = f"at most {self.channels} channel{'s' * (self.channels > 1)}"
            return f"{self.name} supports {most}, not {channels}; choose another --format"
        if self.rates_hz and rate_hz not in self.rates_hz:
            rates = ", ".join(map(str, self.rates_hz[:-1]))
            advice = next((rate for rate in self.rates_hz if rate >= rate_hz), self.rates_hz[-1])
            return (
                f"{self.name} supports {rates} and {self.rates_hz[-1]} Hz, not {rate_hz}; add --rate {advice},"
                " or choose another --format"
            )
        if self.largest_hz is not None and rate_hz > self.largest_hz:
            return (
                f"{self.name} supports at most {self.largest_hz} Hz, not {rate_hz}; add a lower --rate,"
                " or choose another --format"
            )
        if self.name == "FLAC" and rate_hz > FLAC_LARGEST_HZ and rate_hz % FLAC_STEP_HZ:
            return (
                f"FLAC supports only multiples of {FLAC_STEP_HZ} Hz above {FLAC_LARGEST_HZ} Hz, not {rate_hz};"
                f" add --rate {rate_hz // FLAC_STEP_HZ * FLAC_STEP_HZ}, or choose another --format"
            )
        return None


FORMATS = {"FLAC": Limits("FLAC", 8, largest_hz=655_350), "SVX": Limits("8SVX", 1, largest_hz=65_535)}
ENCODINGS = {
    "VORBIS": Limits("Vorbis", largest_hz=200_000),
    "OPUS": Limits("Opus", rates_hz=OPUS_HZ),
    "MPEG_LAYER_III": Limits("MP3", 2, MP3_HZ),
    "IMA_ADPCM": Limits("IMA ADPCM", 2),
    "MS_ADPCM": Limits("Microsoft ADPCM", 2),
    "GSM610": Limits("GSM 6.10", 1),
    **dict.fromkeys(("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"), Limits("ALAC", 8)),
    **dict.fromkeys(("G721_32", "G723_24", "G723_40"), Limits("G.72x ADPCM", 1)),
    **dict.fromkeys(("NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32"), Limits("NMS ADPCM", 1)),
}


def exceeded_limit(format: str, subtype: str, rate_hz: int, channels: int) -> str | None:
    """Return which limit a recording exceeds in libsndfile's format and subtype, and what to do; None if it fits."""
    found = ENCODINGS.get(subtype) or FORMATS.get(format)
    return found.complaint(rate_hz, channels) if found is not None else None
