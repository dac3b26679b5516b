"""Processor cores, and a limit on processes and threads."""

import os

MAX_JOBS = 1_024  # processes or threads that a user may request


def cpu_count() -> int:
    """Number of cores available to this process, respecting its CPU affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
