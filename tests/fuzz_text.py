"""Damaged manifests, recipes, reports, names and caches of scores: each is read or refused in a line, none hangs.

python tests/fuzz_text.py 10000 [SEED]   tries N inputs and prints the outcomes
"""

import csv
import io
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from fuzz import at_most

from segan_cli.config.recipe import load_recipe, recipe_text
from segan_cli.data.layouts import scan_speech
from segan_cli.data.manifest import read_manifest
from segan_cli.enhancement.plan import make_plan, read_names
from segan_cli.errors import SeganError
from segan_cli.evaluation.cases import from_manifest
from segan_cli.evaluation.compare import compare_reports, load_report
from segan_cli.evaluation.report import csv_text, escape_markdown
from segan_cli.evaluation.scoring import ScoreCache
from segan_cli.system import data_dir
from segan_cli.text import one_line, printable, utf8

LONGEST_S = 20  # of processor time, for one input
TELLING = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xe9", b"\x1b[31m", b"\r", b"\n", b'"', b"'", b",", b"=", b"[",
    b"{", b"]", b"}", b"[[",
    b"nan", b"1e999", b"-1", b"0x" + b"f" * 5_000, b"9" * 5_000, b"[" * 5_000, b"{\"a\":" * 5_000,
    b"a." * 3_000, b"\\ud800", b"\\u0000", b"null", b"true", b"{}", b"[]", b"1", b"\xed\xa0\x80", b"..", b"/",
)  # fmt: skip
REPORT = {
    "format": 2,
    "systems": ["noisy", "a"],
    "measures": {"stoi": {"label": "STOI", "unit": "", "higher_is_better": True}},
    "files": [
        {"name": name, "scores": {"noisy": {"stoi": 0.5}, "a": {"stoi": {"undefined": "silent"}}}} for name in "xy"
    ],
}
KEYS = {"stoi": "k1", "pesq_wb": "k2"}


def damaged(content, rng, most=3):
    """Content with some damages."""
    content = bytearray(content)
    for _ in range(rng.randint(1, most)):
        place, how = rng.randrange(len(content) + 1), rng.randrange(6)
        if how == 0:
            content[place : place + 1] = rng.randbytes(1)
        elif how == 1:
            content[place:place] = rng.choice(TELLING)
        elif how == 2:
            content[place : place + rng.randint(1, 12)] = rng.choice(TELLING)
        elif how == 3:
            del content[place:]
        elif how == 4:
            del content[place : place + rng.randint(1, 64)]
        else:
            content[place:place] = content[place : place + rng.randint(1, 64)] * rng.randint(1, 3)
    return bytes(content)


def changed_in(data, rng):
    """Nested data with one value in it replaced by another kind of value."""
    if rng.random() < 0.2 or not isinstance(data, dict | list) or not data:
        return rng.choice((None, True, 0, -1.5, 10**400, 1e308, "", "x", [], [1], {}, {"a": 1}, "=\x1b", "\ud800"))
    key = rng.choice(list(data)) if isinstance(data, dict) else rng.randrange(len(data))
    data[key] = changed_in(data[key], rng)
    return data


def manifest(place, rng):
    """A table, as trainings and evaluations read it."""
    rows = [["clean", "noisy", "speaker", "room"], *(["c.wav", "n.wav", f"s{i}", rng.choice("ab")] for i in range(3))]
    if rng.random() < 0.5:
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        path, content = place / "a.csv", text.getvalue()
    else:
        path = place / "a.jsonl"
        content = "".join(json.dumps(dict(zip(rows[0], row, strict=True))) + "\n" for row in rows[1:])
    path.write_bytes(damaged(content.encode(), rng))
    if rng.random() < 0.5:
        corpus = read_manifest(str(path), "training", True)
        return [*corpus.notes, *corpus.skipped, *(str(utterance.path) for utterance in corpus.utterances)]
    cases = from_manifest(path)
    return [*cases.notes, *cases.skipped, *(text for case in cases.all for text in (case.name, *case.labels.values()))]


def recipe(place, rng):
    """A recipe; what is read is written and read back the same."""
    whole = rng.choice(sorted(data_dir("recipes").glob("*.toml"))).read_bytes()
    path = place / "a.toml"
    path.write_bytes(damaged(whole, rng))
    read = load_recipe(str(path))
    path.write_bytes(recipe_text(read).encode(errors="surrogateescape"))
    assert load_recipe(str(path)) == read
    return []


def report(place, rng):
    """Two reports side by side."""
    for name, content in (
        ("a.json", json.dumps(REPORT).encode()),
        ("b.json", damaged(json.dumps(REPORT).encode(), rng)),
    ):
        (place / name).write_bytes(content)
    return list(compare_reports(load_report(place / "a.json"), load_report(place / "b.json")))


def names(place, rng):
    """Files whose names are any bytes, found in folders and lists, and shown."""
    folder = place / "names"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = []
    for _ in range(rng.randint(1, 4)):
        name = damaged(rng.choice((b"talk", "gn\u202ep".encode(), b"[b]", b"*")), rng)[:200]
        name = bytes(byte for byte in name if byte not in b"\0/").lstrip(b".") + b".wav"
        Path(os.fsdecode(bytes(folder) + b"/" + name)).touch()
        made.append(bytes(folder) + b"/" + name)
    jobs = list(make_plan([folder], place / "out", None, None))
    assert {os.fsencode(job.source) for job in jobs} == set(made) - {
        name for name in made if Path(os.fsdecode(name)).name[0] == "."
    }
    again = list(make_plan([], place / "out", None, None, read_names(b"\0".join(made) + b"\0")))
    assert len(again) == len(made)
    return [str(utterance.path) for utterance in scan_speech(str(folder)).utterances]


def scores(place, rng):
    """A cache of scores."""
    path = place / "scores"
    path.unlink(missing_ok=True)
    ScoreCache(path).put(KEYS, {"stoi": 0.5, "pesq_wb": 2.5})
    if rng.random() < 0.5:
        path.write_bytes(damaged(path.read_bytes(), rng))
    else:
        with sqlite3.connect(path) as database:
            value = damaged(b"0.5", rng)
            database.execute("UPDATE scores SET score = ?", (value if rng.random() < 0.5 else value.decode("latin-1"),))
        database.close()
    cache = ScoreCache(path)
    found = cache.get(KEYS)
    cache.put(KEYS, found)
    return list(cache.notes)


KINDS = (manifest, recipe, report, names, scores)


def attempt(place, kind, rng):
    """Try one input; → its outcome."""
    try:
        with at_most(LONGEST_S):
            lines, became = kind(place, rng), "read"
    except SeganError as error:
        lines, became = [str(error)], "refused"
    for line in lines:
        assert printable(one_line(line)) == one_line(line)
        for text in (utf8(line), csv_text(line), escape_markdown(line), json.dumps(line)):
            text.encode()
    return became


def run(n, seed=0):
    """Try many inputs; → their outcomes by kind. Inputs that raise other errors are printed."""
    rng, outcomes = random.Random(seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("c.wav", "n.wav"):
            (place / name).touch()
        for i in range(n):
            kind = KINDS[i % len(KINDS)]
            try:
                outcomes[kind.__name__, attempt(place, kind, rng)] += 1
            except Exception:
                traceback.print_exc()
                outcomes[kind.__name__, "raised"] += 1
    return outcomes


if __name__ == "__main__":
    for (kind, became), count in sorted(run(int(sys.argv[1]), *map(int, sys.argv[2:])).items()):
        print(f"{count:6} {kind} {became}")
