"""What of this machine the process may use."""

import os

MOST_THREADS = 1_024  # that anybody may ask for


def cpu_count() -> int:
    """Cores that this process may use, which an affinity can make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
