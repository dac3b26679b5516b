"""The type of signals."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]  # full scale is 1
