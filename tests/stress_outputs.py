"""Random commands over inputs and outputs under many names: inputs stay, and nothing is written but the outputs.

python tests/stress_outputs.py 5000 [SEED]   tries N inputs and prints the outcomes
"""

import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import fsspec
import numpy as np
import soundfile

import segan_cli.cli.enhance
import segan_cli.cli.evaluate
import segan_cli.cli.evaluation_run
import segan_cli.enhancement.batch
import segan_cli.evaluation.page
import segan_cli.evaluation.run
import segan_cli.evaluation.scoring  # noqa: F401  # imported once, and not by every fork
from segan_cli.cli import main as segan
from segan_cli.enhancement.recording import enhance_recording
from segan_cli.storage.atomic import write_whole

RECORDINGS = ("in/a.wav", "in/b.flac", "in/deep/c.wav", "in/a-clean.wav", "ref/a.wav", "ref/b.wav", "other.wav")
TEXTS = ("list.txt", "list.wav", "list.jsonl", "pairs.csv", "m.onnx", "m.wav", "o.jsonl", "in/notes.txt")
FRESH = ("new.wav", "new.flac", "in/new.wav", "new.jsonl", "new.csv", "new.png", "new/", "new/deep/x.wav", "no.xyz")
LINKS = {"soft.wav": "in/a.wav", "dir": "in", "soft.jsonl": "list.jsonl", "new.txt": "nowhere", "up": ".."}
NAMES = (*RECORDINGS, *TEXTS, *FRESH, *FRESH, "hard.wav", "soft.wav", "soft.jsonl", "new.txt", "in/", "ref/")
KEYS = ("k/a.wav", "k/{}/x.wav", "k//x.wav", "k/../../x.wav", "k/x/../../../y.wav", "k/%2e%2e/x.wav", "k/x::y.wav")
OUTPUTS = ("-o", "--residual", "--plot", "--outcomes", "--csv", "--html", "--markdown", "--cache")
APPENDED = "o.jsonl"


class FakeEnhancer:
    """Halves the samples."""

    def __init__(self, model, **arguments):
        self.network = SimpleNamespace(config=None)

    def enhance_source(self, source):
        yield from ((block, block / 2) for block in source.blocks)

    def enhance(self, noisy, rate_hz):
        return noisy / 2

    def enhance_job(self, job, options, on_progress=None):
        outcome = enhance_recording(self.enhance_source, self.network.config, job, options, on_progress)
        return replace(outcome, model="fake")


PATCHES = {
    "segan_cli.enhancement.enhancer.Enhancer": FakeEnhancer,
    "segan_cli.evaluation.run.worker_pool": lambda jobs: ThreadPoolExecutor(1),
    "segan_cli.enhancement.plot.plot": lambda before, after, target: write_whole(target, b"picture"),
}


def prepare(place):
    """Make inputs of every kind in a new folder, links to some, and a bucket memory://k whose keys lead out of it."""
    place.mkdir(parents=True)
    sound = 0.1 * np.random.default_rng(0).standard_normal(4_000)
    for name in RECORDINGS:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place / name, sound, 16_000)
    for name in TEXTS:
        (place / name).write_text("in/a.wav\n")
    (place / "pairs.csv").write_text("noisy,clean\nin/a.wav,ref/a.wav\n")
    (place / APPENDED).write_text('{"source": "x"}\n{"source": "torn')
    (place / "hard.wav").hardlink_to(place / "in" / "a.wav")
    for name, target in LINKS.items():
        (place / name).symlink_to(target)
    bucket = fsspec.filesystem("memory")
    bucket.store.clear()
    for key in KEYS:
        bucket.pipe(f"/{key.format(place.parent)}", (place / "in" / "a.wav").read_bytes())


def spelled(name, rng):
    """Return one of the names of a file in the working folder."""
    path, slash = Path.cwd() / name, "/" * name.endswith("/")
    return rng.choice((
        name, name, name, f"./{name}", f"in/../{name}", f"in/deep/../../{name}", f"{path}{slash}",
        f"/proc/self/cwd/{name}", f"file://{path}{slash}", f"FILE://localhost{path}{slash}", f"local://{path}{slash}",
        f"LOCAL://{path}{slash}", f"file://{str(path).replace('a', '%61')}{slash}", f"up/{Path.cwd().name}/{name}",
        name.replace("in/", "dir/"),
    ))  # fmt: skip


def real(name):
    """Return the path that a name means, without links."""
    local = name.partition("://")[2].removeprefix("localhost").replace("%61", "a")
    return os.path.realpath(local or name)


def enhancing(rng):
    """Return arguments of segan enhance, and the files that it reads."""
    given, read = rng.choice((
        (["in/a.wav"], {"in/a.wav"}), (["in/a.wav", "in/b.flac"], {"in/a.wav", "in/b.flac"}), (["-"], {"in/a.wav"}),
        (["in"], set(RECORDINGS[:4])), (["in/*.wav"], {"in/a.wav", "in/a-clean.wav"}), (["soft.wav"], {"in/a.wav"}),
        (["memory://k"], set()), ([], set()),
    ))  # fmt: skip
    words = [one if one == "-" or ":" in one or "*" in one else spelled(one, rng) for one in given]
    if not given or rng.random() < 0.1:
        listed = rng.choice(("list.txt", "list.wav", "list.jsonl"))
        words, read = [*words, "--files-from", spelled(listed, rng)], {*read, listed, "in/a.wav"}
    if rng.random() < 0.8:
        words += ["-o", "-" if rng.random() < 0.1 else spelled(rng.choice(NAMES), rng)]
    elif rng.random() < 0.7:
        words, read = [*words, *rng.choice(([], ["--suffix", "-clean"]))], read - {"in/a-clean.wav"}  # is a result
    else:
        words += ["--suffix", ".."]
    for option in OUTPUTS[1:4]:
        if rng.random() < 0.15:
            words += [option, spelled(rng.choice(NAMES), rng)]
    if rng.random() < 0.2:
        model = rng.choice(("m.onnx", "m.wav"))
        words, read = [*words, "--model", model], {*read, model}
    flags = ("--json", "--dry-run", "--skip-existing", "--format=flac", "--normalize=-1", "--jobs=2", "--shard=1/2")
    return [*words, *(flag for flag in flags if rng.random() < 0.12)], read


def evaluating(rng):
    """Return arguments of segan evaluate, and the files that it reads."""
    words, read = rng.choice((
        (["--noisy", spelled("in", rng), "--clean", spelled("ref", rng)], set(RECORDINGS[:6])),
        (["--data", spelled("pairs.csv", rng)], {"pairs.csv", "in/a.wav", "ref/a.wav"}),
    ))  # fmt: skip
    words += ["--measure", "si_sdr_db", *(["--no-cache"] if rng.random() < 0.8 else ["--cache", rng.choice(NAMES)])]
    for option in OUTPUTS[4:7]:
        if rng.random() < 0.4:
            words += [option, spelled(rng.choice(NAMES), rng)]
    return [*words, *["--json"] * (rng.random() < 0.3)], read


def contents(place):
    """Return the content of every file below a folder that is no link."""
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file() and not path.is_symlink()}


def attempt(place, rng):
    """Run one command; → what it is and its exit code, and what is wrong or ''."""
    shutil.rmtree(place, ignore_errors=True)
    work, temporary = place / "around" / "work", place / "temporary"
    temporary.mkdir(parents=True)
    prepare(work)
    os.chdir(work)
    words, read = rng.choice((enhancing, enhancing, enhancing, evaluating))(rng)
    words = ["enhance" if "--measure" not in words else "evaluate", *words, *["-y"] * (rng.random() < 0.7)]
    stdout = rng.choice((*[str(place / "stdout")] * 5, "/dev/full", "closed", "in/a.wav"))
    before = contents(work.parent)
    code = run(words, stdout, place / "stderr", temporary)
    after = contents(work.parent)
    said = (place / "stderr").read_text(errors="replace").splitlines()
    changed = {os.path.relpath(path) for path in before if after.get(path) != before[path]}
    read |= {"hard.wav"} if "in/a.wav" in read else set()
    if stdout == "in/a.wav" and "in/a.wav" not in read:
        changed -= {"in/a.wav", "hard.wav"}  # to which the shell was told to append
    troubles = [f"changed: {name}" for name in changed if name in read or not ("-y" in words or name == APPENDED)]
    troubles += [f"written: {path}" for path in after.keys() - before.keys() if not may_be_written(path, words)]
    troubles += [f"left: {path}" for path in temporary.rglob("*") if path.is_file()]
    if code not in (0, 1, 2) or any("Traceback" in line or "Exception" in line or "(a bug" in line for line in said):
        troubles.append(f"exit code {code}")
    if (code == 2 and len(said) != 1) or (code and not (said and said[-1].startswith("segan: "))):
        troubles.append(f"exit code {code} without one line")
    return f"{words[0]}, exit code {code}", f"{words} > {stdout}: {troubles} {said}" if troubles else ""


def may_be_written(path, words):
    """Whether a new file is an output that the words name, or is in such a folder, or beside an input."""
    if Path(path).name.startswith("."):
        return False
    places = [real(words[i + 1]) for i, word in enumerate(words) if word in OUTPUTS]
    beside = "-o" not in words and path.startswith(f"{Path.cwd()}/") and ("-clean." in path or "..." in path)
    return beside or any(path == place or path.startswith(f"{place}/") for place in places)


def run(words, stdout, stderr, temporary):
    """Run a command in a fork of this process; → its exit code."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    try:
        tempfile.tempdir = str(temporary)
        os.dup2(os.open("in/a.wav", os.O_RDONLY), 0)
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        if stdout == "closed":
            os.close(1)
        else:
            os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        sys.argv = ["segan", *words]
        code = 0
        try:
            segan()
        except SystemExit as error:
            code = error.code
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BaseException as error:
        os.write(2, f"Exception at the end: {error!r}".encode())
    finally:
        os._exit(code)


def main(n, seed=0):
    """Run many commands; → how many were of each kind, and how many violated a rule."""
    rng, outcomes, wrong, here = random.Random(seed), Counter(), 0, Path.cwd()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for name, fake in PATCHES.items():
            stack.enter_context(patch(name, fake))
        for _ in range(n):
            outcome, trouble = attempt(Path(folder, "try"), rng)
            outcomes[outcome] += 1
            wrong += bool(trouble)
            if trouble:
                print(trouble, flush=True)
        os.chdir(here)
    return outcomes, wrong


if __name__ == "__main__":
    found, bad = main(int(sys.argv[1]), *map(int, sys.argv[2:]))
    print(*(f"{count:5} {outcome}" for outcome, count in sorted(found.items())), sep="\n")
    print(f"{found.total()} commands, {bad} of which violated a rule")
    sys.exit(min(1, bad))
