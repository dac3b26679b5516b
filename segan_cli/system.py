"""Resources of this machine."""

import os

MOST_THREADS = 1_024  # limit of the options for threads and workers


def cpu_count() -> int:
    """Return the number of cores that this process may use, by its affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
