"""The shipped network that enhances sound above the band of a model, in ONNX Runtime."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from segan_cli.arrays import Array
from segan_cli.backends.pretrained import find_high_band
from segan_cli.runtime import SILENT, load_onnxruntime


class HighBandNetwork:
    """Gains of the bands above 8 kHz, from features of frames; a recurrent network, which carries its state."""

    def __init__(self, path: Path) -> None:
        """Load a file that `tools/high_band.py` wrote."""
        onnxruntime = load_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = SILENT
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.hidden: int = self.session.get_inputs()[1].shape[2]
        self.n_bands: int = self.session.get_outputs()[0].shape[2]

    def __call__(self, features: Array, state: Array | None) -> tuple[Array, Array]:
        """Return gains [C, n, bands] and the next state for features [C, n, inputs]; the first state is None."""
        if state is None:
            state = np.zeros((1, len(features) * self.n_bands, self.hidden), np.float32)
        inputs = {"features": features.swapaxes(0, 1), "state": state}
        gains, state = self.session.run(["gains", "next_state"], inputs)
        return gains.swapaxes(0, 1), state


@lru_cache(maxsize=1)
def load_high_band() -> HighBandNetwork:
    """Load the shipped network; raises CheckpointError when its file is missing or was changed."""
    return HighBandNetwork(find_high_band())
