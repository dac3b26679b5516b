"""Processor cores, and limits on processes, threads and open files."""

import os
import sys

MAX_JOBS = 1_024  # processes or threads that a user may request


def cpu_count() -> int:
    """Number of cores available to this process, respecting its CPU affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_file_limit() -> int | None:
    """Number of files that this process may have open; None if there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
