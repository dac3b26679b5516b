"""Importing ONNX Runtime with its telemetry off."""

import os
import sys
from threading import Lock
from typing import Any

DISABLE_TELEMETRY = "ORT_DISABLE_TELEMETRY"  # environment variable, read when the library is loaded
SILENT = 4  # log severity: errors are raised, not logged
LOADING = Lock()


def load_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off, or turn it off if it is imported already; raises ImportError."""
    with LOADING:
        if "onnxruntime" in sys.modules:
            import onnxruntime

            onnxruntime.disable_telemetry_events()
            return onnxruntime
        before = os.environ.get(DISABLE_TELEMETRY)
        os.environ[DISABLE_TELEMETRY] = "1"
        try:
            import onnxruntime
        finally:
            if before is None:
                del os.environ[DISABLE_TELEMETRY]
            else:
                os.environ[DISABLE_TELEMETRY] = before
        onnxruntime.set_default_logger_severity(SILENT)
        return onnxruntime
