"""ONNX Runtime, which keeps no record of its use and reports nothing."""

import os
import sys
from threading import Lock
from typing import Any

SWITCH = "ORT_DISABLE_TELEMETRY"  # read once, when the library is loaded
SILENT = 4  # of the runtime's levels of talk: what goes wrong is raised, and told once
LOADING = Lock()


def load_onnxruntime() -> Any:
    """The package onnxruntime with its telemetry off; the environment is as before when this returns.

    Where the process has loaded it already, all that can be done is to switch its events off. Raises ImportError when
    it is not installed.
    """
    with LOADING:
        if "onnxruntime" in sys.modules:
            import onnxruntime

            onnxruntime.disable_telemetry_events()
            return onnxruntime
        before = os.environ.get(SWITCH)
        os.environ[SWITCH] = "1"
        try:
            import onnxruntime
        finally:
            if before is None:
                del os.environ[SWITCH]
            else:
                os.environ[SWITCH] = before
        onnxruntime.set_default_logger_severity(SILENT)
        return onnxruntime
