"""The command line in processes of its own, and small trainings for it."""

import os
import subprocess
import sys

TINY = """
[model]
preset = "segan-gated"
window = 4096
hop = 2048
[model.generator]
channels = [8, 16]
strides = [4, 8]
dilations = [1, 1]
kernel_size = 15
latent_channels = 2
[model.discriminator]
channels = [4, 8]
strides = [4, 8]
kernel_size = 15
[training]
steps = 4
batch_size = 2
reference_windows = 2
warmup_steps = 1
spectral_weight = 1.0
log_every = 1
validate_every = 2
validation_mixes = 1
"""


def segan(*arguments, **environment):
    """`segan` with arguments, to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=300, env=alone(**environment), check=False
    )


def command(*arguments):
    """The words of a command."""
    return [sys.executable, "-m", "segan_cli", *map(str, arguments)]


def alone(**environment):
    """An environment in which a small training does not fight for threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **environment}


def complaint(result):
    """The one line of a failed command, the last it says."""
    assert result.returncode in (1, 2), result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("segan: ")
    return line
