"""Break the program in small ways, one at a time, and report the breaks that no test notices.

python tools/mutations.py -j 2             all of mutations.toml, in minutes
python tools/mutations.py ema metric       those whose names hold one of these words
python tools/mutations.py --check          run nothing; is every old text still found once?
python tools/mutations.py --generate 300   random ones instead (--seed, --in segan_cli/audio), with the nearest tests

Each mutation is applied to a copy of the tree, and the tests that it names run there. Exits with 1 when one survives or
cannot be applied.
"""

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mutants import mutants
from nearest import Tests

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("segan_cli", "tests", "pyproject.toml")  # the rest is linked
PRELOADED = ["torch._dynamo", "torchaudio", "scipy.signal", "pesq", "pystoi", "soundfile", "soxr", "hypothesis", "onnx"]
LONGEST_S, LATEST_S = 300, 3_600  # of processor time and of time, for the tests of a mutation
NOTICED, SURVIVED = 1, 0  # pytest's exit codes; others mean that the tests cannot be run, as they can be without it


@dataclass(frozen=True)
class Mutation:
    """A replacement of text in one file, and the arguments of the pytest run that should fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problem(self) -> str | None:
        """Why it cannot be applied, None if it can."""
        if missing := [test for test in self.tests if not (ROOT / test.split("::")[0]).is_file()]:
            return f"{missing[0]}: no such test file"
        if not (ROOT / self.file).is_file():
            return f"{self.file}: no such file"
        n = (ROOT / self.file).read_text(encoding="utf-8").count(self.old)
        return None if n == 1 else f"{self.file}: holds the old text {n} times instead of once"


def read_list() -> list[Mutation]:
    """The mutations of mutations.toml."""
    entries = tomllib.loads(LIST.read_text(encoding="utf-8"))["mutation"]
    return [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def generated(prefix: str, n: int, seed: int) -> list[Mutation]:
    """Random mutations, which replace a whole file and run the nearest tests."""
    tests = Tests(ROOT)
    return [
        Mutation(name, file, (ROOT / file).read_text(encoding="utf-8"), text, tuple(tests.nearest(file, line)))
        for name, file, line, text in mutants(ROOT / "segan_cli", prefix, n, seed)
    ]


class FirstFailure:
    """A plugin of pytest that keeps the name of the first test that fails."""

    name = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take note of one part of a test."""
        if report.failed and not self.name:
            self.name = report.nodeid


def run_tests(mutation: Mutation | None, tests: Sequence[str]) -> tuple[int, str]:
    """Pytest's exit code on a copy of the tree with a mutation or with none, and the first test that failed."""
    import pytest

    first = FirstFailure()

    with tempfile.TemporaryDirectory(prefix="mutation-") as folder, quiet():
        copy = Path(folder)
        for path in ROOT.iterdir():
            if path.name not in COPIED and path.name[0] != ".":
                (copy / path.name).symlink_to(path)
        for name in COPIED:
            copy_any = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy_any(ROOT / name, copy / name)
        if mutation is not None:
            path = copy / mutation.file
            path.write_text(path.read_text(encoding="utf-8").replace(mutation.old, mutation.new), encoding="utf-8")
        os.chdir(copy)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = folder
        return int(pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests], [first])), first.name


def in_process(mutation: Mutation | None, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in a process; one that crashes, or takes too long with a mutation, has noticed it."""
    receiver, sender = multiprocessing.Pipe(False)
    process = multiprocessing.Process(target=send_outcome, args=(mutation, tests, sender))
    process.start()
    sender.close()
    try:
        outcome: tuple[int, str] | None = receiver.recv()
    except EOFError:
        outcome = None
    process.join()
    return outcome or (NOTICED, f"exit code {process.exitcode}")


def send_outcome(mutation: Mutation | None, tests: Sequence[str], sender: "Connection[Any, Any]") -> None:
    """Run tests, and send their result."""
    if mutation is not None and sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_S, LONGEST_S))
        signal.alarm(LATEST_S)
    sender.send(run_tests(mutation, tests))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Say nothing on standard output."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def main() -> int:
    """Test the chosen mutations and print a line for each; → exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="apply only the mutations whose names contain one of these")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="number of mutations tested at once")
    parser.add_argument("--generate", type=int, metavar="N", help="test N random mutations instead of the listed ones")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random mutations")
    parser.add_argument("--in", dest="prefix", default="segan_cli", help="folder or file of the random mutations")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="skip the first N, to continue a run")
    parser.add_argument("--check", action="store_true", help="only check that each can be applied")
    arguments = parser.parse_args()
    every = generated(arguments.prefix, arguments.generate, arguments.seed) if arguments.generate else read_list()
    chosen = [m for m in every if not arguments.words or any(word in m.name for word in arguments.words)]
    chosen = chosen[arguments.skip :]
    problems = {mutation.name: problem for mutation in chosen if (problem := mutation.problem())}
    for name, problem in problems.items():
        print(f"cannot be applied: {name}: {problem}")
    if arguments.check or problems or not chosen:
        print(f"{len(chosen)} mutations, {len(problems)} cannot be applied")
        return 1 if problems or not chosen else 0
    return report(chosen, arguments.jobs)


def report(chosen: Sequence[Mutation], jobs: int) -> int:
    """Run the tests of each mutation, and of none first; print what became of it; → exit code."""
    multiprocessing.set_start_method("forkserver")
    multiprocessing.set_forkserver_preload(PRELOADED)  # so that each run need not load them
    with ThreadPoolExecutor(jobs) as pool:
        began = time.monotonic()
        every = sorted({test for mutation in chosen for test in mutation.tests})
        code, failed = in_process(None, every)
        if code != SURVIVED:
            print(f"the tests fail without any mutation: {failed or f'exit code {code} of pytest'}")
            return 1
        print(f"without a mutation all tests pass ({time.monotonic() - began:.0f} s)", flush=True)
        outcomes = {}
        running = pool.map(in_process, chosen, [mutation.tests for mutation in chosen])
        for mutation, (code, failed) in zip(chosen, running, strict=True):
            outcome = "SURVIVED" if code == SURVIVED else "noticed"
            outcomes[mutation.name] = outcome
            print(f"{outcome}: {mutation.name}{f'  [{failed}]' if failed else ''}", flush=True)
    bad = sorted(name for name, outcome in outcomes.items() if outcome != "noticed")
    share = f"{len(chosen) - len(bad)} noticed ({1 - len(bad) / len(chosen):.1%})"
    print(f"{len(chosen)} mutations, {share}{''.join(f'; not: {name}' for name in bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
