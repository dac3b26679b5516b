"""The command line in processes of its own, and small trainings for it."""

import gc
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkContext
from multiprocessing.forkserver import ForkServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import pytest

from segan_cli.backends import onnx
from segan_cli.cli import main
from segan_cli.process import workers

LIBRARIES = [
    "segan_cli.cli.enhance", "segan_cli.cli.enhance_batch", "segan_cli.cli.outcomes", "segan_cli.cli.train",
    "segan_cli.cli.evaluate", "segan_cli.enhancement.batch", "segan_cli.enhancement.plan", "segan_cli.backends.onnx",
    "segan_cli.evaluation.run", "s3fs", "pytest",
]  # fmt: skip
TORCH = ["segan_cli.cli.training_reporter", "segan_cli.training.run", "torch._dynamo"]

LIGHT, HEAVY = ForkServer(), ForkServer()  # without and with torch, whose processes take longer to fork and to end
LIGHT.set_forkserver_preload(LIBRARIES)
HEAVY.set_forkserver_preload(LIBRARIES + TORCH)
WARM = multiprocessing.get_context("forkserver")  # its processes begin where `segan` begins, with libraries loaded

PATIENCE_S = 1_200  # after which a process hangs; a busy machine must not reach it
onnx.TEST_TIMEOUT_S = onnx.CALL_TIMEOUT_S = PATIENCE_S

TINY = """
[model]
preset = "segan-gated"
segment_length = 4096
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
reference_segments = 2
warmup_steps = 1
spectral_weight = 1.0
log_every = 1
validate_every = 2
validation_mixes = 1
"""


def segan(*arguments, **options):
    """`segan` with arguments, to its end."""
    return Running(*arguments, **options).end()


def unprivileged(*arguments):
    """`segan` in a process to which the permissions of files apply, even if root starts it."""
    words = command(*arguments)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv on this machine")
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=alone(), timeout=PATIENCE_S)


class Running:
    """`segan` at work, in a process of its own that need not load the libraries first."""

    def __init__(self, *arguments, memory=None, **environment):
        """Start it, with a limit on the addresses it may use in bytes, if given."""
        self.words = command(*arguments)
        self.folder = TemporaryDirectory()
        self.streams = [Path(self.folder.name, name) for name in ("stdout", "stderr")]
        place = (Path.cwd(), alone(**environment), self.streams)
        self.process = WARM.Process(target=_segan, args=(self.words[2:], *place, memory))
        needs_torch = any(word in ("train", "export") or word.endswith(".safetensors") for word in self.words)
        server = HEAVY if needs_torch else LIGHT
        forkserver.connect_to_new_process = server.connect_to_new_process
        self.process.start()

    def wait_until(self, reached):
        """Wait for something to be so while the command is at work."""
        alive = True
        while not reached():
            assert alive, self.end()
            time.sleep(0.01)
            alive = self.process.is_alive()  # asked before `reached`, which its end may bring about

    def said(self):
        """Its standard error until now."""
        return self.streams[1].read_text() if self.streams[1].exists() else ""

    def send_signal(self, number, to_children=False):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for pid in (*(children.read_text().split() if to_children else ()), self.process.pid):
            with suppress(ProcessLookupError):  # it may have ended
                os.kill(int(pid), number)

    def end(self, timeout_s=PATIENCE_S):
        """Wait for the end of it: exit code and what it said."""
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            raise subprocess.TimeoutExpired(self.words, timeout_s)
        said = [stream.read_text() for stream in self.streams]
        self.folder.cleanup()
        return subprocess.CompletedProcess(self.words, self.process.exitcode, *said)


def _segan(words, folder, environment, streams, memory):
    gc.freeze()  # what was loaded is not searched for garbage again
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as in a terminal, also where the tests run under nohup …
    signal.signal(signal.SIGINT, signal.default_int_handler)  # … or in the background of a script
    for number, path in enumerate((os.devnull, *streams)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    sys.modules["__main__"] = ModuleType("__main__")  # what workers would load once more
    workers._Context = ForkContext  # nor need workers load the libraries; those of `command` do
    multiprocessing.set_start_method("fork", force=True)  # nor those of a DataLoader
    main()


def command(*arguments):
    """The words of a command."""
    return [sys.executable, "-m", "segan_cli", *map(str, arguments)]


def alone(**environment):
    """An environment in which a small training does not fight for threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **environment}


def wait_until(reached):
    """Wait for something to be so."""
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def complaint(result):
    """The one line of a failed command, the last it says."""
    assert result.returncode in (1, 2), result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("segan: ")
    return line


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {missing} else find(name, package)
sys.argv = ["segan", *{arguments}]
from segan_cli.__main__ import main
main()
"""


def without(packages, *arguments):
    """Run segan in a process in which packages are not installed."""
    program = WITHOUT.format(missing=set(packages), arguments=list(map(str, arguments)))
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=alone(), timeout=PATIENCE_S
    )
