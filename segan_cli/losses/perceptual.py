"""A differentiable PESQ loss."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from segan_cli.losses.segments import Segments

# The 49 Bark bands of ITU-T P.862.2 at 16 kHz: number of bins of a 512-point FFT, centre and width in Bark, power
# density correction, absolute hearing threshold (power).
# fmt: off
BINS = (
    1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6, 7,
    8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20,
)
CENTRES_BARK = (
    0.078672, 0.316341, 0.636559, 0.961246, 1.290450, 1.624217, 1.962597, 2.305636, 2.653383, 3.005889, 3.363201,
    3.725371, 4.092449, 4.464486, 4.841533, 5.223642, 5.610866, 6.003256, 6.400869, 6.803755, 7.211971, 7.625571,
    8.044611, 8.469146, 8.899232, 9.334927, 9.776288, 10.223374, 10.676242, 11.134952, 11.599563, 12.070135, 12.546731,
    13.029408, 13.518232, 14.013264, 14.514566, 15.022202, 15.536238, 16.056736, 16.583761, 17.117382, 17.657663,
    18.204674, 18.758478, 19.319147, 19.886751, 20.461355, 21.043034,
)
WIDTHS_BARK = (
    0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114, 0.354897, 0.359729,
    0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989, 0.400236, 0.405538, 0.410894, 0.416306,
    0.421773, 0.427297, 0.432877, 0.438514, 0.444209, 0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621,
    0.485736, 0.491912, 0.498151, 0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390,
    0.557220, 0.564119, 0.571085, 0.578125, 0.585232,
)
CORRECTIONS = (
    100.000000, 99.999992, 100.000000, 100.000008, 100.000008, 100.000015, 99.999992, 99.999969, 50.000027, 100.000000,
    99.999969, 100.000015, 99.999947, 100.000061, 53.047077, 110.000046, 117.991989, 65.000000, 68.760147, 69.999931,
    71.428818, 75.000038, 76.843384, 80.968781, 88.646126, 63.864388, 68.155350, 72.547775, 75.584831, 58.379192,
    80.950836, 64.135651, 54.384785, 73.821884, 64.437073, 59.176456, 65.521278, 61.399822, 58.144047, 57.004543,
    64.126297, 54.311001, 61.114979, 55.077751, 56.849335, 55.628868, 53.137054, 54.985844, 79.546974,
)
THRESHOLDS = (
    51286152.000000, 2454709.500000, 70794.593750, 4897.788574, 1174.897705, 389.045166, 104.712860, 45.708820,
    17.782795, 9.772372, 4.897789, 3.090296, 1.905461, 1.258925, 0.977237, 0.724436, 0.562341, 0.457088, 0.389045,
    0.331131, 0.295121, 0.269153, 0.257040, 0.251189, 0.251189, 0.251189, 0.251189, 0.263027, 0.288403, 0.309030,
    0.338844, 0.371535, 0.398107, 0.436516, 0.467735, 0.489779, 0.501187, 0.501187, 0.512861, 0.524807, 0.524807,
    0.524807, 0.512861, 0.478630, 0.426580, 0.371535, 0.363078, 0.416869, 0.537032,
)
# fmt: on
POWER_SCALE, LOUDNESS_SCALE = 6.910853e-6, 1.866055e-1  # S_p and S_l of ITU-T P.862 at 16 kHz
SPEECH_POWER = 1e7  # between 350 and 3250 Hz, after level alignment
FILTER = (2.740826, -5.4816519, 2.740826), (1.0, -1.9444777, 0.94597794)  # input filter of P.862.2, as z⁻¹ polynomials


class PerceptualDistance(nn.Module):
    """0.1 d_symmetric + 0.0309 d_asymmetric, the disturbance that PESQ subtracts from 4.5 (ITU-T P.862 and P.862.2).

    Simplifications: both signals are taken to be time-aligned, levels are aligned over the whole segment, and the input
    filter is applied to frames. All else, with its numbers, follows section 10 of P.862: Bark power densities, partial
    compensation of the transfer function and of short-term gain, Zwicker loudness, dead zone, asymmetry factor and L_p
    norms over time. Segments without speech have a loss of 0.
    """

    bands: Tensor
    thresholds: Tensor
    exponents: Tensor
    widths: Tensor
    speech_band: Tensor

    def __init__(self) -> None:
        super().__init__()
        hz = np.arange(257) * 16_000 / 512
        unit = np.exp(-2j * np.pi * hz / 16_000)
        response = np.abs(np.polyval(FILTER[0][::-1], unit) / np.polyval(FILTER[1][::-1], unit)) ** 2
        bands = np.zeros((257, len(BINS)), np.float32)
        first = 0
        for band, (n, correction) in enumerate(zip(BINS, CORRECTIONS, strict=True)):
            bands[first : first + n, band] = response[first : first + n] * correction * POWER_SCALE
            first += n
        bands[0] = 0.0  # no DC
        centres = np.array(CENTRES_BARK)
        exponents = 0.23 * np.clip(6 / (centres + 2), 1.0, 2.0) ** 0.15
        speech_band = (hz >= 350) & (hz <= 3_250)
        buffers = {"bands": bands, "thresholds": THRESHOLDS, "exponents": exponents, "widths": WIDTHS_BARK}
        for name, values in {**buffers, "speech_band": speech_band}.items():
            self.register_buffer(name, torch.as_tensor(np.array(values), dtype=torch.float32), persistent=False)

    def forward(self, enhanced: Segments, clean: Segments) -> Tensor:
        """Segments [B, 1, T], T at least 512 → scalar, the mean over segments."""
        return torch.where(clean.is_active, self.distance(enhanced, clean), 0.0).mean()

    def distance(self, enhanced: Segments, clean: Segments) -> Tensor:
        """Segments [B, 1, T] → [B]."""
        degraded, reference = self.bark(enhanced), self.bark(clean)
        reference = reference * self.transfer_ratio(degraded, reference)
        ratio = (self.audible(reference) + 5e3) / (self.audible(degraded) + 5e3)
        degraded = degraded * smoothed(ratio).clamp(3e-4, 5.0)[..., None]

        loud, target = self.loudness(degraded), self.loudness(reference)
        difference = loud - target
        disturbance = (difference.abs() - 0.25 * torch.minimum(loud, target)).relu()
        asymmetry = ((degraded + 50) / (reference + 50)) ** 1.2
        asymmetry = torch.where(asymmetry < 3, 0.0, asymmetry.clamp(max=12.0))
        weight = ((self.audible(reference) + 1e5) / 1e7) ** -0.04
        widths = self.widths[1:]
        scaled = disturbance[..., 1:] * widths
        symmetric = (widths.sum() * scaled.square().sum(-1) + 1e-12).sqrt()
        asymmetric = (scaled * asymmetry[..., 1:]).sum(-1)
        return 0.1 * pooled(symmetric * weight) + 0.0309 * pooled(asymmetric * weight)

    def bark(self, side: Segments) -> Tensor:
        """Bark power densities [B, N, 49] of segments [B, 1, T], after level alignment."""
        power = side.power
        # |X|² of one side of the spectrum, summed, is half of 512 Σ (w x)², and a Hann window has Σ w² = 0.375 · 512
        in_band = (power * self.speech_band).sum(-1).mean(-1) * 2 / (512 * 512 * 0.375)
        gain = SPEECH_POWER / in_band.clamp_min(1e-12)
        bark: Tensor = (power @ self.bands) * gain[:, None, None]
        return bark

    def audible(self, bark: Tensor, factor: float = 1.0) -> Tensor:
        """Power of each frame in bands louder than `factor` times the hearing threshold, [B, N, 49] → [B, N]."""
        return torch.where(bark > factor * self.thresholds, bark, 0.0)[..., 1:].sum(-1)

    def transfer_ratio(self, degraded: Tensor, reference: Tensor) -> Tensor:
        """Ratio of degraded to reference power per band over speech frames, two [B, N, 49] → [B, 1, 49]."""
        speech = (self.audible(reference, 100.0) >= 1e7)[..., None]
        means = [
            torch.where(speech & (side > 100 * self.thresholds), side, 0.0).mean(1, keepdim=True)
            for side in (degraded, reference)
        ]
        return ((means[0] + 1000) / (means[1] + 1000)).clamp(0.01, 100.0)

    def loudness(self, bark: Tensor) -> Tensor:
        """Zwicker loudness densities of Bark power densities, same shape."""
        grown = (0.5 + 0.5 * bark / self.thresholds) ** self.exponents - 1
        loud = LOUDNESS_SCALE * (self.thresholds / 0.5) ** self.exponents * grown
        return torch.where(bark > self.thresholds, loud, 0.0)


def smoothed(ratio: Tensor) -> Tensor:
    """First-order smoothing y[n] = 0.8 x[n] + 0.2 y[n - 1], y[0] = x[0], of [B, N] as one matrix product."""
    n = torch.arange(ratio.shape[1], device=ratio.device)
    lag = n[:, None] - n
    weights = torch.where(lag >= 0, 0.2 ** lag.clamp_min(0).float(), 0.0) * torch.where(n == 0, 1.0, 0.8)
    return ratio @ weights.T


def pooled(disturbance: Tensor) -> Tensor:
    """L6 norm over stretches of 20 frames, zero-padded, every 10, then L2 norm over stretches, [B, N] → [B]."""
    missing = 10 + -disturbance.shape[1] % 10
    stretches = pad(disturbance.clamp(1e-4, 45.0) ** 6, (0, missing)).unfold(1, 20, 10).mean(-1)
    result: Tensor = (stretches ** (1 / 3)).mean(1).sqrt()
    return result
