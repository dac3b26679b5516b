"""Manifests that use parts of files, and names that are composed in another way than those of the files."""

import csv
import gzip
import json
import shutil
import unicodedata

import numpy as np
import pytest
import soundfile
from conftest import hiss, voice

from segan_cli.config.training import DataConfig, MixingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.layouts import scan_noise, scan_speech
from segan_cli.data.manifest import read_manifest
from segan_cli.data.recordings import CorpusLoader, describe_corpus, map_shard
from segan_cli.data.training_data import load_training_data
from segan_cli.errors import CorpusError
from segan_cli.evaluation.cases import from_folders, from_manifest, match_enhanced
from segan_cli.evaluation.compare import compare_reports
from segan_cli.evaluation.run import evaluate
from segan_cli.evaluation.scoring import score
from segan_cli.evaluation.signals import Signal

SPEECH_S, PAUSE_S = 0.5, 1.0
STARTS_S = (1.0, 2.5)  # of the speech in each call


@pytest.fixture
def calls(tmp_path):
    """Three calls, each with noise, speech, noise, speech; → the speech of each."""
    speech = {}
    for i in range(3):
        speech[i] = [0.5 * voice(SPEECH_S, seed=10 * i + j) for j in range(2)]
        noise = [hiss(PAUSE_S, seed=10 * i + j, level=0.2) for j in range(2)]
        soundfile.write(
            tmp_path / f"call{i}.wav", np.concatenate((noise[0], speech[i][0], noise[1], speech[i][1])), 16_000
        )
    return speech


def lhotse_cut(i, start_s):
    recording = {
        "id": f"call{i}", "sources": [{"type": "file", "channels": [0], "source": f"call{i}.wav"}],
        "sampling_rate": 16_000, "num_samples": 48_000, "duration": 3.0,
    }  # fmt: skip
    supervision = {"id": "s", "recording_id": f"call{i}", "start": 0.0, "duration": SPEECH_S, "speaker": f"s{i}"}
    return {
        "id": f"{i}-{start_s}", "start": start_s, "duration": SPEECH_S, "channel": 0, "supervisions": [supervision],
        "recording": recording, "type": "MonoCut",
    }  # fmt: skip


def nemo_row(i, start_s):
    return {"audio_filepath": f"call{i}.wav", "offset": start_s, "duration": SPEECH_S, "speaker": f"s{i}", "text": "a"}


def table_row(i, start_s):
    return {"path": f"call{i}.wav", "start": start_s, "end": start_s + SPEECH_S, "speaker": f"s{i}"}


def write_manifest(path, rows):
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def load(tmp_path, speech=(), noise=()):
    loader = CorpusLoader(Cache(tmp_path / "cache", 16_000), None)
    pool = loader.load([str(path) for path in speech], [str(path) for path in noise], (), "training")
    return pool, loader.summaries[-1]


def whole(recordings, recording, noisy=False):
    return recordings.excerpt(recording.name, 0, recording.length, noisy)


def test_pairs_in_a_manifest_of_noise_are_refused(tmp_path):
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, hiss(1.0), 16_000)
    (tmp_path / "m.csv").write_text("path,noisy\na.wav,b.wav\n")
    with pytest.raises(CorpusError, match=r"a\.wav: noise cannot be a noisy/clean pair; remove `noisy`"):
        load(tmp_path, noise=[tmp_path / "m.csv"])


@pytest.mark.parametrize(
    ("name", "make_row"),
    [("a.json", nemo_row), ("a.csv", table_row), ("a.jsonl", table_row), ("cuts.jsonl.gz", lhotse_cut)],
)
def test_only_the_parts_that_a_manifest_selects_are_trained_on(tmp_path, calls, name, make_row):
    write_manifest(tmp_path / name, [make_row(i, start_s) for i in range(3) for start_s in STARTS_S])
    pool, summary = load(tmp_path, [tmp_path / name])
    assert summary.skipped == ()
    assert describe_corpus(summary).endswith("manifest, 6 rows, 0.00 h of speech, 3 speakers, 16 kHz")
    assert summary.seconds == pytest.approx(6 * SPEECH_S)
    expected = [part for i in range(3) for part in calls[i]]
    for recording, speech in zip(pool.speech.all, expected, strict=True):
        np.testing.assert_allclose(whole(pool.speech, recording), speech, atol=1e-4)
    level = pool.speech.all[0].entry.level
    soundfile.write(tmp_path / "alone.wav", calls[0][0], 16_000)
    assert level == pytest.approx(Cache(tmp_path / "cache", 16_000).read([tmp_path / "alone.wav"])[0].level, rel=1e-3)
    sources = load_training_data(
        DataConfig((str(tmp_path / name),)), MixingConfig(), 0, Cache(tmp_path / "cache", 16_000)
    )
    ours, theirs = ({recording.entry.digest for recording in side.all} for side in sources.splits["speakers"])
    assert ours
    assert theirs
    assert not ours & theirs


def test_parts_whose_samples_vanish_from_the_cache_are_decoded_again(tmp_path, calls):
    write_manifest(tmp_path / "a.jsonl", [nemo_row(i, start_s) for i in range(3) for start_s in STARTS_S])
    pool, _ = load(tmp_path, [tmp_path / "a.jsonl"])
    shutil.rmtree(tmp_path / "cache")
    map_shard.cache_clear()
    np.testing.assert_allclose(whole(pool.speech, pool.speech.all[1]), calls[0][1], atol=1e-4)
    soundfile.write(tmp_path / "call1.wav", hiss(3.0), 16_000)
    with pytest.raises(CorpusError, match=r"call1\.wav: has changed"):
        whole(pool.speech, pool.speech.all[2])


def test_parts_of_noise_and_of_pairs_are_used_alone(tmp_path, calls):
    write_manifest(tmp_path / "noise.csv", [{"path": f"call{i}.wav", "end": PAUSE_S} for i in range(3)])
    write_manifest(
        tmp_path / "pairs.jsonl",
        [
            {"clean": f"call{i}.wav", "noisy": f"call{(i + 1) % 3}.wav", "start_time": 1, "end_time": 1.5}
            for i in range(3)
        ],
    )
    noise, summary = load(tmp_path, noise=[tmp_path / "noise.csv"])
    assert summary.utterances == 3
    np.testing.assert_allclose(whole(noise.noise, noise.noise.all[0]), hiss(PAUSE_S, level=0.2), atol=1e-4)
    pairs, summary = load(tmp_path, [tmp_path / "pairs.jsonl"])
    assert (summary.kind, summary.utterances) == ("pairs", 3)
    for noisy in (False, True):
        for i, recording in enumerate(pairs.speech.all):
            expected = calls[(i + noisy) % 3][0]
            np.testing.assert_allclose(whole(pairs.speech, recording, noisy), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"offset": -1, "duration": 1}, "offset -1; it must be a number of seconds from 0 on"),
        ({"offset": "nan", "duration": 1}, "offset nan; it must be"),
        ({"offset": "1:30"}, "offset 1:30; it must be"),
        ({"offset": [1]}, "offset [1]; it must be"),
        ({"start": 0.5, "duration": 0}, "ends at 0.5 s, which is not after its start at 0.5 s"),
        ({"start": 1, "end": 0.5}, "ends at 0.5 s, which is not after its start at 1 s"),
        ({"start": 1, "duration": 1, "end": 3}, "start 1 and duration 1 contradict end 3"),
        ({"offset": 0, "start": 3, "duration": 2}, "offset and start contradict each other; give one of them"),
        ({"offset": 2.5, "duration": 0.6}, "the file has 3 s, but the row selects 2.5-3.1 s"),
        ({"offset": 3}, "the file has 3 s, but the row selects 3- s"),
        ({"offset": 1e308, "duration": 1e308}, "offset 1e+308; it must be"),
        ({"duration": 3000}, "the file has 3 s, but the row selects 0-3000 s"),
    ],
)
def test_impossible_times_are_reported_with_their_row(tmp_path, calls, times, message):
    rows = [{"noisy": "call0.wav", "clean": "call0.wav"} | times, {"noisy": "call1.wav", "clean": "call1.wav"}]
    write_manifest(tmp_path / "a.jsonl", rows)
    line = f"{tmp_path / 'a.jsonl'}, line 1: {message}"
    _, summary = load(tmp_path, [tmp_path / "a.jsonl"])
    assert summary.utterances == 1
    assert [text[: len(line)] for text in summary.skipped] == [line]
    cases = from_manifest(tmp_path / "a.jsonl")
    results = [score(case.clean, case.noisy, ("lsd_db",)) for case in cases.all]
    reasons = [*cases.skipped, *(result for result in results if isinstance(result, str))]
    assert [text[: len(line)] for text in reasons] == [line]


def test_an_end_rounded_beyond_the_file_is_its_end(tmp_path, calls):
    write_manifest(tmp_path / "a.csv", [{"path": "call0.wav", "offset": 2.5, "duration": 0.54}])
    pool, _ = load(tmp_path, [tmp_path / "a.csv"])
    assert pool.speech.all[0].length == 8_000


@pytest.mark.parametrize(
    "column",
    ["onset", "begin_time", "start_ms", "stop", "noisy_offset", "frame_offset", "channel", "t0", "from", "Offset",
     "start-time", "End Time", "in", "crop", "ch", "channel_idx"],
)  # fmt: skip
def test_other_columns_that_select_a_part_are_refused_by_name(tmp_path, calls, column):
    write_manifest(tmp_path / "a.jsonl", [{"clean": "call0.wav", "noisy": "call1.wav", column: 1}])
    for read in (lambda path: load(tmp_path, [path]), from_manifest):
        with pytest.raises(CorpusError, match=rf"a\.jsonl, line 1: column {column}: ") as caught:
            read(tmp_path / "a.jsonl")
        assert "rename the column" in str(caught.value)


@pytest.mark.parametrize("column", ["dur", "Duration", "length", "duration_ms", "num_samples", "duration-sec"])
def test_an_unknown_length_beside_a_start_is_refused_by_name(tmp_path, calls, column):
    write_manifest(tmp_path / "a.jsonl", [{"clean": "call0.wav", "noisy": "call1.wav", "start": 0.1, column: 1}])
    for read in (lambda path: load(tmp_path, [path]), from_manifest):
        with pytest.raises(CorpusError, match=rf"a\.jsonl, line 1: column {column}: "):
            read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("column", ["length", "num_samples"])
def test_the_duration_of_a_whole_file_selects_no_part(tmp_path, calls, column):
    write_manifest(tmp_path / "a.jsonl", [{"clean": "call0.wav", "noisy": "call1.wav", column: 1}])
    assert len(from_manifest(tmp_path / "a.jsonl").all) == 1


@pytest.mark.parametrize(("column", "value"), [("segments", [{"start": 1}]), ("channel_selector", [0, 1])])
def test_lists_that_select_a_part_are_refused_by_name(tmp_path, calls, column, value):
    write_manifest(tmp_path / "a.jsonl", [{"clean": "call0.wav", column: value}])
    with pytest.raises(CorpusError, match=rf"a\.jsonl, line 1: column {column}: "):
        load(tmp_path, [tmp_path / "a.jsonl"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "MixedCut"}, "a Lhotse MixedCut; only MonoCut is supported"),
        ({"recording": {"sources": [{"type": "url", "source": "x"}]}}, "not a single one-channel file"),
        (
            {"recording": {"sources": [{"type": "file", "source": "x", "channels": [0, 1]}]}},
            "not a single one-channel file",
        ),
    ],
)
def test_lhotse_cuts_that_are_not_of_one_file_are_refused(tmp_path, change, message):
    write_manifest(tmp_path / "a.jsonl", [lhotse_cut(0, 1.0) | change])
    with pytest.raises(CorpusError, match=f"line 1: .*{message}"):
        load(tmp_path, [tmp_path / "a.jsonl"])


@pytest.mark.parametrize(
    "damage", [lambda data: data[:20], lambda data: b"x" + data, lambda data: data[:-12] + b"x" * 12]
)
def test_a_damaged_compressed_manifest_is_refused_in_one_line(tmp_path, damage):
    write_manifest(tmp_path / "a.jsonl.gz", [nemo_row(0, 1.0)])
    (tmp_path / "a.jsonl.gz").write_bytes(damage((tmp_path / "a.jsonl.gz").read_bytes()))
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz: cannot be read \(.+\)"):
        load(tmp_path, [tmp_path / "a.jsonl.gz"])


def test_a_row_that_selects_what_another_row_selects_is_skipped(tmp_path, calls):
    write_manifest(tmp_path / "a.jsonl", [nemo_row(0, 1.0), nemo_row(0, 2.5), nemo_row(0, 1.0)])
    _, summary = load(tmp_path, [tmp_path / "a.jsonl"])
    assert summary.skipped == (f"{tmp_path / 'call0.wav'} 1-1.5 s: same content as another row",)


def test_enhanced_files_of_parts_are_found_in_the_folders_of_their_recordings(tmp_path, calls):
    for place in ("x", "y"):
        for folder in (tmp_path / place, tmp_path / "out" / place):
            folder.mkdir(parents=True)
            soundfile.write(folder / "call.wav", soundfile.read(tmp_path / "call0.wav")[0], 16_000)
    rows = [{"noisy": f"{place}/call.wav", "offset": 1.0, "duration": SPEECH_S} for place in ("x", "y")]
    write_manifest(tmp_path / "a.jsonl", rows)
    cases = from_manifest(tmp_path / "a.jsonl").all
    matched, skipped = match_enhanced(tmp_path / "out", cases)
    assert [str(matched[case.name]) for case in cases] == [
        f"{tmp_path}/out/{place}/call.wav 1-1.5 s" for place in ("x", "y")
    ]
    assert skipped == []
    write_manifest(tmp_path / "b.jsonl", [{**rows[0], "name": "call"}])  # the name of the file
    (case,) = from_manifest(tmp_path / "b.jsonl").all
    assert str(match_enhanced(tmp_path / "out" / "x", [case])[0]["call"]).endswith("x/call.wav 1-1.5 s")
    shutil.rmtree(tmp_path / "out" / "y")
    (tmp_path / "out" / "x" / "call.wav").rename(tmp_path / "out" / "call.wav")
    with pytest.raises(CorpusError, match="no file matches"):
        match_enhanced(tmp_path / "out", cases)  # it could be of either


def test_parts_are_scored_like_files_of_their_own(tmp_path, calls):
    (tmp_path / "out").mkdir()
    soundfile.write(tmp_path / "out" / "call0.wav", 0.5 * soundfile.read(tmp_path / "call0.wav")[0], 16_000)
    rows = [
        {"noisy": "call0.wav", "clean": "call1.wav", "offset": s, "duration": SPEECH_S, "room": "a"} for s in STARTS_S
    ]
    write_manifest(tmp_path / "a.jsonl", rows)
    result = evaluate(from_manifest(tmp_path / "a.jsonl"), ("lsd_db",), {"half": tmp_path / "out"}, jobs=1)
    assert [row.case.name for row in result.cases] == ["call0 1-1.5 s", "call0 2.5-3 s"]
    assert result.cases[0].case.labels == {"room": "a"}
    for i, row in enumerate(result.cases):
        for system, gain in (("noisy", 1.0), ("half", 0.5)):
            soundfile.write(tmp_path / "clean.wav", calls[1][i], 16_000)
            degraded = Signal("call0", np.float32(gain) * calls[0][i], 16_000)
            own = score(tmp_path / "clean.wav", degraded, ("lsd_db",))
            assert row.scores[system]["lsd_db"] == pytest.approx(own.scores["lsd_db"], abs=0.05)  # files have 16 bits


# Names that are composed in another way


def named(form, name):
    return unicodedata.normalize(form, name)


@pytest.fixture
def composed_pairs(tmp_path):
    """Pairs and enhanced files whose names look alike: NFC in clean/, NFD elsewhere."""
    for side, form in (("clean", "NFC"), ("noisy", "NFD"), ("out", "NFD")):
        for i, name in enumerate(("Müller_01", "Müller_02", "café_01", "café_02")):
            path = tmp_path / side / f"{named(form, name)}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, 0.5 * voice(0.5, seed=i) + (side != "clean") * hiss(0.5, seed=i), 16_000)
    return tmp_path


def test_names_in_different_unicode_forms_are_pairs(composed_pairs):
    cases = from_folders(composed_pairs / "noisy", composed_pairs / "clean")
    assert [case.name for case in cases.all] == ["Müller_01", "Müller_02", "café_01", "café_02"]
    assert cases.skipped == ()
    matched, skipped = match_enhanced(composed_pairs / "out", cases.all)
    assert (len(matched), skipped) == (4, [])
    corpus = scan_speech(str(composed_pairs))
    assert (len(corpus.utterances), corpus.skipped) == (4, ())


def test_speakers_and_noises_in_different_unicode_forms_are_the_same(tmp_path):
    for i, (form, name) in enumerate((("NFC", "Ä"), ("NFD", "Ä"), ("NFC", "b"), ("NFC", "c"))):
        path = tmp_path / "speech" / named(form, name) / f"{i}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, voice(0.5, seed=i), 16_000)
    assert len({utterance.group for utterance in scan_speech(str(tmp_path / "speech")).utterances}) == 3
    (tmp_path / "noise").mkdir()
    for form, channel in (("NFC", 1), ("NFD", 2)):
        soundfile.write(tmp_path / "noise" / f"{named(form, 'Straßenlärm')}_ch{channel:02d}.wav", hiss(0.5), 16_000)
    assert len({utterance.group for utterance in scan_noise(str(tmp_path / "noise")).utterances}) == 1


def test_a_manifest_may_name_files_in_either_unicode_form(composed_pairs):
    rows = [
        {"clean": named("NFD", "clean/café_01.wav"), "noisy": named("NFC", "noisy/café_01.wav"), "speaker": "a"},
        {"clean": "clean/café_02.wav", "noisy": named("NFD", "noisy/café_02.wav"), "speaker": "b"},
    ]
    write_manifest(composed_pairs / "a.jsonl", rows)
    _, summary = load(composed_pairs, [composed_pairs / "a.jsonl"])
    assert (summary.utterances, summary.skipped) == (2, ())
    assert [case.name for case in from_manifest(composed_pairs / "a.jsonl").all] == ["noisy/café_01", "noisy/café_02"]


def test_reports_are_compared_by_name_in_either_unicode_form():
    measures = {"stoi": {"label": "STOI", "unit": "", "higher_is_better": True}}
    first, second = (
        {
            "systems": ["noisy"],
            "measures": measures,
            "files": [{"name": named(form, "Müller"), "scores": {"noisy": {"stoi": score}}}],
        }
        for form, score in (("NFC", 0.5), ("NFD", 0.75))
    )
    assert compare_reports(first, second)["noisy"]["stoi"].mean == 0.25


SPLIT_NAMES = ("train", "training", "", "valid", "validation", "dev")


@pytest.mark.parametrize(
    ("split", "used"),
    [("training", ["train", "training", ""]), ("validation", ["valid", "validation", "dev"])],
)
def test_rows_of_a_manifest_are_used_by_their_split(tmp_path, split, used):
    rows = [{"path": f"{name or 'none'}.wav", "split": name} for name in (*SPLIT_NAMES, "test")]
    for row in rows:
        (tmp_path / row["path"]).touch()
    write_manifest(tmp_path / "a.csv", rows)
    corpus = read_manifest(str(tmp_path / "a.csv"), split, needs_speaker=False)
    assert [utterance.path.stem for utterance in corpus.utterances] == [name or "none" for name in used]
    assert corpus.notes == (f"{tmp_path / 'a.csv'}: 4 of its 7 rows belong to other splits",)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_manifest_with_several_other_sets_is_not_used_as_a_whole(tmp_path, split):
    """The test set would be trained on."""
    for name in "ab":
        (tmp_path / f"{name}.wav").touch()
    names = {"training": "train", "validation": "valid"}
    others = [mark for key, mark in names.items() if key != split]
    rows = [{"path": "a.wav", "split": others[0]}, {"path": "b.wav", "split": "test"}]
    write_manifest(tmp_path / "a.csv", rows)
    with pytest.raises(CorpusError, match=f"no row of the {split} set; split has {others[0]}, test, expected"):
        read_manifest(str(tmp_path / "a.csv"), split, needs_speaker=False)
    write_manifest(tmp_path / "a.csv", [rows[0] | {"split": names[split].upper()}, rows[1]])
    corpus = read_manifest(str(tmp_path / "a.csv"), split, needs_speaker=False)
    assert [utterance.path.stem for utterance in corpus.utterances] == ["a"]
    write_manifest(tmp_path / "a.csv", [{"path": f"{name}.wav", "split": "test"} for name in "ab"])
    assert len(read_manifest(str(tmp_path / "a.csv"), split, needs_speaker=False).utterances) == 2
