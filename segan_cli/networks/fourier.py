"""The Fourier transforms of the spectral generator, also as matrix products for ONNX."""

import math

import numpy as np
import torch
from torch import Tensor, nn


class Fourier(nn.Module):
    """Windowed Fourier transform of frames and its inverse, both with the square root of a Hann window."""

    window: Tensor

    def __init__(self, frame: int) -> None:
        super().__init__()
        # torch.hann_window would load the compiler of torch on the meta device.
        window = np.sin(np.pi / frame * np.arange(frame))
        self.register_buffer("window", torch.tensor(window, dtype=torch.float32), persistent=False)

    def stft(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [B, N, frame] → real and imaginary part [B, N, F]."""
        spectra = torch.fft.rfft(frames * self.window, norm="ortho")
        return spectra.real, spectra.imag

    def istft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Real and imaginary part [B, N, F] → frames [B, N, frame]."""
        frames: Tensor = torch.fft.irfft(torch.complex(real, imaginary), norm="ortho") * self.window
        return frames


class MatrixFourier(Fourier):
    """The transforms of `Fourier` as matrix products, which every runtime supports.

    Cosines are even about the middle of a frame and sines odd, so half of each matrix is enough, for the even and the
    odd part of a frame. The window is zero at the first sample of a frame.
    """

    cosines: Tensor
    sines: Tensor
    back_cosines: Tensor
    back_sines: Tensor

    def __init__(self, frame: int) -> None:
        super().__init__(frame)
        half = frame // 2
        turn = 2 * math.pi / frame * torch.arange(1, half + 1)[:, None].double() * torch.arange(half + 1)
        window = torch.hann_window(frame, dtype=torch.float64).sqrt()[1 : half + 1, None] / math.sqrt(frame)
        twice = torch.full((half + 1,), 2.0).double()
        twice[0] = twice[-1] = 1.0
        cosines, sines = window * turn.cos(), -(window * turn.sin())[:-1]
        for name, values in {"cosines": cosines, "sines": sines}.items():
            self.register_buffer(name, values.float())
            self.register_buffer(f"back_{name}", (values * twice).T.contiguous().float())

    def stft(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Transform frames [B, N, frame] to real and imaginary parts [B, N, F]."""
        half = frames.shape[-1] // 2
        rising, falling = frames[..., 1:half], frames[..., half + 1 :].flip(-1)
        even = torch.cat((rising + falling, frames[..., half : half + 1]), -1)
        return even @ self.cosines, (rising - falling) @ self.sines

    def istft(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Transform real and imaginary parts [B, N, F] to frames [B, N, frame]."""
        even, odd = real @ self.back_cosines, imaginary @ self.back_sines
        sides, middle = even[..., :-1], even[..., -1:]
        return torch.cat((torch.zeros_like(middle), sides + odd, middle, (sides - odd).flip(-1)), -1)
