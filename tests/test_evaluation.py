"""Evaluation: cases from folders, sets, manifests and mixes; scores, statistics and reports."""

import json
import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from conftest import hiss, voice
from hypothesis import given, settings
from hypothesis import strategies as st

from segan_cli.audio.meter import active_level
from segan_cli.errors import AudioError, CorpusError, SeganError
from segan_cli.evaluation.cases import (
    Cases,
    from_folders,
    from_manifest,
    from_mixes,
    from_set,
    label_speakers,
    match_enhanced,
    unique_cases,
)
from segan_cli.evaluation.compare import compare_reports, load_report
from segan_cli.evaluation.page import to_html, worst_to_best
from segan_cli.evaluation.report import build_report, measure_label, to_csv, to_markdown
from segan_cli.evaluation.run import CaseScores, Scorer, evaluate, scores_of
from segan_cli.evaluation.scoring import ScoreCache, estimate_delay, score
from segan_cli.evaluation.signals import NoiseMix, load
from segan_cli.evaluation.statistics import differences, summarise
from segan_cli.measures.catalog import CORE, FULL_BAND, WITH_REFERENCE, measure_all, resample
from segan_cli.measures.score import Undefined
from segan_cli.text import write_json

QUICK = ("stoi", "si_sdr_db")


class Halved:
    """A system that halves its input."""

    def enhance(self, noisy, rate_hz):
        return noisy / 2


def score_here(cases, measures, systems=MappingProxyType({}), cache=None, **options):
    """Evaluate in this process."""
    models = {name: system for name, system in systems.items() if not isinstance(system, Path)}
    with ThreadPoolExecutor(1) as pool:
        return evaluate(cases, measures, systems, runner=Scorer(pool, models, cache), **options)


def run(pairs, systems=None, **options):
    return score_here(from_folders(pairs / "noisy", pairs / "clean"), QUICK, systems or {}, **options)


def rewrite(path, change):
    samples, rate_hz = soundfile.read(path)
    soundfile.write(path, change(samples), rate_hz)


def test_all_workers_are_busy(pairs):
    pool = Mock()
    score_all = Scorer(pool, {}, workers=20)
    cases = from_folders(pairs / "noisy", pairs / "clean").all * 40
    next(score_all(cases, QUICK, {}))
    assert pool.submit.call_count > 20


def test_mixes_with_intermittent_noise_have_their_snr(tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "noise").mkdir()
    for i in range(4):
        soundfile.write(tmp_path / "clean" / f"{i}.wav", voice(1.0, seed=i), 16_000, "FLOAT")
    knock = np.concatenate((hiss(0.25), np.zeros(16_000 * 9)))
    soundfile.write(tmp_path / "noise" / "knock.wav", knock, 16_000, "FLOAT")
    for case in from_mixes(tmp_path / "clean", tmp_path / "noise", [0.0], 0).all:
        noisy, clean = (load(signal, 16_000).samples for signal in (case.noisy, case.clean))
        snr_db = 20 * np.log10(active_level(clean) / np.sqrt(np.mean(np.square(noisy - clean))))
        assert snr_db == pytest.approx(0, abs=0.01)


def test_a_label_named_like_a_score_gets_another_column(pairs):
    rows = ["noisy,clean,noisy stoi"]
    rows += [f"noisy/u{i}.wav,clean/u{i}.wav,label {i}" for i in range(2)]
    (pairs / "m.csv").write_text("\n".join(rows) + "\n")
    text = to_csv(build_report(score_here(from_manifest(pairs / "m.csv"), ("stoi",)), {}))
    header, first, _ = text.splitlines()
    assert header == "name,label noisy stoi,noisy stoi"
    assert first.split(",")[1] == "label 0"


def test_speakers_are_the_whole_names_of_folders(tmp_path):
    paths = [tmp_path / accent / "a.wav" for accent in ("uk:1", "us:1")]
    assert label_speakers(tmp_path, paths) == [{"speaker": "uk:1"}, {"speaker": "us:1"}]
    paths = [tmp_path / f"p22{i}_001.wav" for i in range(2)]
    assert label_speakers(tmp_path, paths) == [{"speaker": "p220"}, {"speaker": "p221"}]


# What is compared


def test_files_are_paired_by_name_whatever_their_format(pairs):
    for name in ("u1", "u3"):
        samples, rate_hz = soundfile.read(pairs / "noisy" / f"{name}.wav")
        soundfile.write(pairs / "noisy" / f"{name}.flac", samples, rate_hz)
        (pairs / "noisy" / f"{name}.wav").unlink()
    result = run(pairs, {"itself": pairs / "clean"})
    assert [row.case.name for row in result.cases] == ["u0", "u1", "u2", "u3"]
    for row in result.cases:
        assert row.scores["itself"]["stoi"] == pytest.approx(1.0, abs=1e-5)
        assert 5 < row.scores["noisy"]["si_sdr_db"] < 25


def test_a_folder_in_a_folder_of_the_same_name_is_searched(pairs):
    for side in ("clean", "noisy"):
        (pairs / side).rename(pairs / "inner")
        (pairs / f"{side}_testset_wav").mkdir()
        (pairs / "inner").rename(pairs / f"{side}_testset_wav" / f"{side}_testset_wav")
    assert [case.noisy.stem for case in from_set(pairs).all] == ["u0", "u1", "u2", "u3"]


def test_files_without_exactly_one_counterpart_are_skipped_and_reported(pairs):
    (pairs / "clean" / "u2.wav").unlink()
    shutil.copy(pairs / "noisy" / "u1.wav", pairs / "noisy" / "u1.aiff")
    cases = from_folders(pairs / "noisy", pairs / "clean")
    assert [case.name for case in cases.all] == ["u0", "u3"]
    assert "no clean file" in cases.skipped[1]
    assert "u2" in cases.skipped[1]
    assert "several files" in cases.skipped[0]
    assert "u1" in cases.skipped[0]
    files, skipped = match_enhanced(pairs / "clean", from_folders(pairs / "noisy", pairs / "noisy").all)
    assert "u2" not in files
    assert any("no file for u2" in line for line in skipped)


def test_voicebank_demand_is_found_with_its_noise_and_snr_labels(pairs):
    root = pairs.parent / "VoiceBank"
    for side in ("clean", "noisy"):
        shutil.copytree(pairs / side, root / f"{side}_testset_wav")
        shutil.copytree(pairs / side, root / f"{side}_trainset_28spk_wav")
    (root / "log_testset.txt").write_text("u0 bus 2.5\nu1 cafe 7.5\nu2 bus 2.5\nu3 cafe 17.5\n")
    cases = from_set(root)
    assert [case.noisy.parent.name for case in cases.all] == ["noisy_testset_wav"] * 4
    other = root / "noisy_trainset_28spk_wav"
    assert cases.notes == (f"{root / 'noisy_testset_wav'}: only this set is evaluated; left out: {other}",)
    assert [case.labels["snr_db"] for case in cases.all] == ["2.5", "7.5", "2.5", "17.5"]
    result = score_here(cases, QUICK)
    report = build_report(result, {})
    assert [group["value"] for group in report["breakdown"]["snr_db"]] == ["2.5", "7.5", "17.5"]
    assert [group["recordings"] for group in report["breakdown"]["noise"]] == [2, 2]


def test_a_manifest_keeps_its_columns_and_reports_bad_rows(pairs):
    rows = ["noisy,clean,accent", "noisy/u0.wav,clean/u0.wav,Scottish", "noisy/none.wav,clean/u1.wav,Welsh"]
    (pairs / "list.csv").write_text("\n".join(rows) + "\n")
    cases = from_manifest(pairs / "list.csv")
    assert [case.labels for case in cases.all] == [{"accent": "Scottish"}]
    assert "line 3" in cases.skipped[0]
    assert "none.wav" in cases.skipped[0]


@pytest.mark.parametrize("what", ["missing", "empty", "apart"])
def test_folders_without_usable_pairs_are_refused(pairs, what):
    (pairs / "empty").mkdir()
    if what == "apart":
        (pairs / "other").mkdir()
        shutil.copy(pairs / "clean" / "u0.wav", pairs / "other" / "x.wav")
    with pytest.raises(CorpusError, match={"missing": "no such", "empty": "no audio", "apart": "none of its"}[what]):
        from_folders(pairs / "noisy", pairs / ("other" if what == "apart" else what))


def test_noise_is_labelled_by_its_folder_or_by_the_name_of_its_file(pairs):
    noise = pairs / "kinds"
    for name in ("room.1/a.wav", "room.2/b.wav", "hum.wav"):
        (noise / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(noise / name, hiss(1.0), 16_000)
    labels = {case.labels["noise"] for case in from_mixes(pairs / "clean", noise, range(20), seed=3).all}
    assert labels == {"room.1", "room.2", "hum"}


def test_mixes_have_the_requested_snr_and_are_reproducible(pairs):
    noise = pairs / "hiss"
    noise.mkdir()
    soundfile.write(noise / "h.wav", hiss(5.0, seed=9, level=0.3), 16_000)
    cases = from_mixes(pairs / "clean", noise, (0.0, 12.0), seed=3)
    assert cases == from_mixes(pairs / "clean", noise, (0.0, 12.0), seed=3)
    assert len(cases.all) == 8
    clean = load(pairs / "clean" / "u0.wav", 16_000).samples
    ratio = {}
    for snr_db in (0.0, 12.0):
        added = load(NoiseMix(pairs / "clean" / "u0.wav", noise / "h.wav", snr_db, 7), 16_000).samples - clean
        ratio[snr_db] = 10 * np.log10(np.mean(clean**2) / np.mean(added**2))
    assert ratio[12.0] - ratio[0.0] == pytest.approx(12.0, abs=0.01)
    assert -6 < ratio[0.0] < 0.1  # the level of speech is that where somebody speaks
    result = score_here(cases, QUICK, {"half": Halved()})
    by_snr = {group["value"]: group["summary"] for group in build_report(result, {})["breakdown"]["snr_db"]}
    assert by_snr["12"]["noisy"]["si_sdr_db"]["mean"] > by_snr["0"]["noisy"]["si_sdr_db"]["mean"] + 11
    assert by_snr["0"]["half"]["si_sdr_db"]["mean"] == pytest.approx(
        by_snr["0"]["noisy"]["si_sdr_db"]["mean"], abs=1e-4
    )


# What is measured


def test_rates_channels_and_lengths_are_unified_and_reported(pairs):
    import soxr

    before = run(pairs)
    clean, _ = soundfile.read(pairs / "clean" / "u0.wav")
    soundfile.write(pairs / "clean" / "u0.wav", soxr.resample(clean, 16_000, 48_000), 48_000, "FLOAT")
    rewrite(pairs / "noisy" / "u1.wav", lambda x: np.stack((x, x), 1))
    rewrite(pairs / "noisy" / "u2.wav", lambda x: x[:-100])
    rewrite(pairs / "noisy" / "u3.wav", lambda x: x[:-4_000])
    result = run(pairs)
    inputs = result.inputs
    assert inputs["rates_hz"] == {"16000": 5, "48000": 1}
    assert inputs["channels"] == {"1": 5, "2": 1}
    assert inputs["truncated"] == 1
    assert len(inputs["skipped"]) == 1
    assert "u3.wav: 1.750 s but 2.000 s" in inputs["skipped"][0]
    cut = pairs / "noisy" / "u0.wav"
    cut.write_bytes(cut.read_bytes()[:-1_000])
    (line,) = set(run(pairs).inputs["skipped"]) - set(inputs["skipped"])
    assert line.startswith(f"{cut}: truncated")
    assert "segan enhance" not in line
    for row, other in zip(result.cases, before.cases, strict=False):
        assert row.scores["noisy"] == pytest.approx(other.scores["noisy"], abs=0.02)


def test_recordings_that_share_a_name_are_skipped(pairs):
    """a.wav and a.flac: their scores could not be told apart."""
    soundfile.write(pairs / "clean" / "u0.flac", voice(1.0, seed=9), 16_000)
    cases = from_mixes(pairs / "clean", pairs / "noisy", [5.0, 5.0], 0)
    names = [case.name for case in cases.all]
    assert len(names) == len(set(names))
    assert not any(name.startswith("u0 ") for name in names)
    assert any("several recordings have this name" in line for line in cases.skipped)
    alone = from_folders(pairs / "clean", None)
    assert "u0" not in [case.name for case in alone.all]


def test_undefined_scores_are_counted_but_excluded_from_means(pairs):
    rewrite(pairs / "noisy" / "u0.wav", np.zeros_like)
    result = run(pairs)
    assert result.cases[0].scores["noisy"]["stoi"] == Undefined("silent signal")
    report = json.loads(write_json(build_report(result, {})))
    stoi = report["summary"]["noisy"]["stoi"]
    assert (stoi["defined"], stoi["undefined"]) == (3, 1)
    assert stoi["mean"] == pytest.approx(np.mean([row.scores["noisy"]["stoi"] for row in result.cases[1:]]))
    assert report["files"][0]["scores"]["noisy"]["stoi"] == {"undefined": "silent signal"}
    assert to_csv(report).splitlines()[1] == "u0,,"


@given(st.integers(-16_000, 16_000), st.sampled_from([1.0, -0.5]))
@settings(max_examples=20)
def test_a_delay_is_found(lag, gain):
    clean = voice(4.0) + hiss(4.0, level=0.01)
    late = np.pad(clean, (max(0, lag), max(0, -lag)))[max(0, -lag) :][: len(clean)]
    assert estimate_delay(clean, gain * late + hiss(4.0, seed=1)) == lag


def test_a_constant_delay_is_reported_and_compensated_with_align(pairs):
    late = pairs / "late"
    late.mkdir()
    for path in (pairs / "noisy").iterdir():
        samples, rate_hz = soundfile.read(path)
        soundfile.write(late / path.name, np.pad(samples, (96, 0))[: len(samples)], rate_hz)
    reported, aligned = (run(pairs, {"late": late}, align=align) for align in (False, True))
    assert reported.inputs["delays"] == aligned.inputs["delays"] == {"late": 96}
    means = [np.mean(scores_of(result.cases, "late", "si_sdr_db")) for result in (reported, aligned)]
    noisy = np.mean(scores_of(reported.cases, "noisy", "si_sdr_db"))
    assert means[0] < noisy - 3
    assert means[1] == pytest.approx(noisy, abs=0.1)
    assert any("--align" in line for line in to_markdown(build_report(reported, {})).splitlines())


class Late:
    """A system that delays its input by 96 samples."""

    def enhance(self, noisy, rate_hz):
        return np.pad(noisy, (96, 0))[: len(noisy)]


def test_the_delay_of_a_model_is_compensated_with_align(pairs):
    heard = []
    cases = from_folders(pairs / "noisy", pairs / "clean")
    aligned = score_here(
        cases, QUICK, {"late": Late()}, align=True, progress=lambda done, total: heard.append((done, total))
    )
    assert aligned.inputs["delays"] == {"late": 96}
    for row in aligned.cases:
        assert row.scores["late"]["si_sdr_db"] == pytest.approx(row.scores["noisy"]["si_sdr_db"], abs=0.1)
    assert heard == [(done, 16) for done in range(1, 17)]  # 2 systems, 4 recordings, measured and scored


class Longer:
    """A system that adds a quarter of a second."""

    def enhance(self, noisy, rate_hz):
        return np.pad(noisy, (0, 4_000))


def test_a_skipped_output_is_named_by_its_recording_and_system(pairs):
    """Unless the noisy recording cannot be used itself: that is one line."""
    rewrite(pairs / "noisy" / "u0.wav", lambda x: np.pad(x, (0, 1_600)))
    result = run(pairs, {"longer": Longer()})
    lengths = "lengths may differ by 0.05 s at most"
    assert result.inputs["skipped"] == [
        f"{pairs / 'noisy' / 'u0.wav'}: 2.100 s but 2.000 s in {pairs / 'clean' / 'u0.wav'}; {lengths}",
        *(f"u{i} by longer: 2.250 s but 2.000 s in {pairs / 'clean' / f'u{i}.wav'}; {lengths}" for i in (1, 2, 3)),
    ]
    assert [list(row.scores) for row in result.cases] == [["noisy"]] * 3


def test_a_mix_does_not_depend_on_the_other_mixes(pairs):
    few = from_mixes(pairs / "clean", pairs / "noisy", (0.0,), seed=3).all
    many = from_mixes(pairs / "clean", pairs / "noisy", (10.0, -0.0, 0.1), seed=3).all
    assert {case.name for case in many if case.name.endswith(" 0 dB")} == {case.name for case in few}
    assert [case for case in many if case in few] == list(few)
    assert len({case.noisy.seed for case in many}) == len(many) == 12
    assert [case.noisy for case in few] != [
        case.noisy for case in from_mixes(pairs / "clean", pairs / "noisy", (0.0,), seed=4).all
    ]
    (pairs / "clean" / "u0.wav").unlink()
    assert from_mixes(pairs / "clean", pairs / "noisy", (0.0,), seed=3).all == few[1:]


def test_scores_are_cached_by_signals_measure_and_versions(pairs, tmp_path, monkeypatch):
    cache = ScoreCache(tmp_path / "scores.sqlite")
    first = run(pairs, cache=cache)
    task = (pairs / "clean" / "u0.wav", pairs / "noisy" / "u0.wav", QUICK, 0, cache)
    monkeypatch.setattr("segan_cli.evaluation.scoring.measure_pair", lambda *_: pytest.fail("measured again"))
    assert score(*task).scores == first.cases[0].scores["noisy"]
    rewrite(pairs / "noisy" / "u0.wav", lambda x: 0.5 * x)
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        score(*task)
    other = ScoreCache(tmp_path / "scores.sqlite")
    other.versions["pystoi"] = "another"
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        score(pairs / "clean" / "u1.wav", pairs / "noisy" / "u1.wav", QUICK, cache=other)


def test_a_file_that_is_not_a_score_cache_is_refused(tmp_path):
    (tmp_path / "file").write_text("no database, and long enough that it cannot be taken for one" * 20)
    with pytest.raises(SeganError, match="--cache"):
        ScoreCache(tmp_path / "file")


@pytest.mark.parametrize("columns", ["key TEXT, score TEXT", "student TEXT, score REAL", "key TEXT"])
def test_a_database_of_another_program_is_refused(tmp_path, columns):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE scores ({columns})")
        database.execute("INSERT INTO scores VALUES ('ann'{})".format(", 100" * columns.count(",")))
    database.close()
    before = path.read_bytes()
    with pytest.raises(SeganError, match="another program"):
        ScoreCache(path)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["a.db"]


def test_an_earlier_damaged_cache_is_kept(tmp_path):
    (tmp_path / "scores.damaged").write_text("precious")
    (tmp_path / "scores").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 16)
    assert "scores.damaged1" in ScoreCache(tmp_path / "scores").notes[0]
    assert (tmp_path / "scores.damaged").read_text() == "precious"


@pytest.mark.parametrize("damage", ["0.9", '"loud"', "NULL", "-5", "CAST(x'ff' AS TEXT)", "x'00'", "1e300"])
def test_a_damaged_score_is_computed_again(tmp_path, damage):
    cache = ScoreCache(tmp_path / "scores")
    cache.put({"stoi": "k1", "lsd_db": "k2"}, {"stoi": 0.5, "lsd_db": Undefined("silent signal")})
    value = damage if damage == "NULL" or "x'" in damage else f"'{damage}'"
    with sqlite3.connect(tmp_path / "scores") as database:
        database.execute(f"UPDATE scores SET score = {value} || substr(score, 4) WHERE key = 'k1'")
    database.close()
    assert cache.get({"stoi": "k1", "lsd_db": "k2"}) == {"lsd_db": Undefined("silent signal")}
    assert "discarded 1 damaged score," in ScoreCache(tmp_path / "scores").notes[0]


def test_the_score_of_a_copy_is_cached(tmp_path):
    cache = ScoreCache(tmp_path / "scores")
    scores = measure_all(voice(2.0), voice(2.0), ("pesq_wb", "pesq_nb"))
    cache.put({"pesq_wb": "k1", "pesq_nb": "k2"}, scores)
    assert cache.get({"pesq_wb": "k1", "pesq_nb": "k2"}) == scores


def test_scores_do_not_depend_on_workers_or_the_cache(pairs, tmp_path):
    """In this process, and in two workers, which go on after half of the scores were kept."""
    cases, half = from_folders(pairs / "noisy", pairs / "clean"), {"half": Halved()}
    cache = ScoreCache(tmp_path / "scores.sqlite")
    score_here(Cases(cases.all[:2]), CORE, cache=cache)
    with sqlite3.connect(cache.path) as database:
        assert database.execute("SELECT count(*) FROM scores").fetchone() == (6,)
    results = score_here(cases, CORE, half), evaluate(cases, CORE, half, jobs=2, cache=cache)
    here, there = (write_json(build_report(result, {})) for result in results)
    assert here == there


# Full-band recordings


HIGH = ("stoi", "si_sdr_db", *FULL_BAND)


@pytest.fixture
def wide(tmp_path):
    """Two pairs at 48 kHz, with sound above 8 kHz and quiet pauses, and what a system makes that halves that sound."""
    for side in ("clean", "noisy", "halved"):
        (tmp_path / side).mkdir()
    for i in range(2):
        high, noise = above_8_khz(hiss(2.0, 48_000, seed=i, level=0.05)), hiss(2.0, 48_000, seed=8 + i, level=0.01)
        clean = (voice(2.0, 48_000, seed=i) + high) * np.repeat(np.float32([1, 3e-3, 1, 3e-3]), 24_000)
        signals = {"clean": clean, "noisy": clean + noise, "halved": clean + noise - above_8_khz(clean + noise) / 2}
        for side, samples in signals.items():
            soundfile.write(tmp_path / side / f"{i}.wav", samples, 48_000, "FLOAT")
    return tmp_path


def above_8_khz(samples):
    spectrum = np.fft.rfft(samples)
    spectrum[: 8_100 * len(samples) // 48_000] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def mean_of(result, system, measure):
    return np.mean([row.scores[system][measure] for row in result.cases])


def test_full_band_recordings_are_scored_at_48_khz(wide):
    cases = from_folders(wide / "noisy", wide / "clean")
    narrow = score_here(cases, QUICK, {"halved": wide / "halved"})
    full = score_here(cases, HIGH, {"halved": wide / "halved"})
    for row, other in zip(full.cases, narrow.cases, strict=True):
        for system in ("noisy", "halved"):
            assert {name: row.scores[system][name] for name in QUICK} == other.scores[system]
    change_db = mean_of(full, "halved", "high_pause_db") - mean_of(full, "noisy", "high_pause_db")
    assert change_db == pytest.approx(-6.02, abs=0.1)
    assert [result.inputs["rates_hz"] for result in (narrow, full)] == [{"48000": 6}] * 2
    reports = [to_markdown(build_report(result, {})) for result in (narrow, full)]
    assert ["resampled to 16 kHz: 6 files at 48000 Hz" in report for report in reports] == [True, False]


class Halving:
    """A model that halves the sound above 8 kHz and delays all by 6 ms; at 16 kHz it only delays."""

    def enhance(self, noisy, rate_hz):
        if rate_hz == 48_000:
            noisy = noisy - above_8_khz(noisy) / 2
        return np.pad(noisy, (6 * rate_hz // 1000, 0))[: len(noisy)]


def test_models_enhance_full_band_recordings_at_48_khz_and_are_aligned(wide):
    cases = from_folders(wide / "noisy", wide / "clean")
    result = score_here(cases, HIGH, {"halved": wide / "halved", "model": Halving()}, align=True)
    assert result.inputs["delays"] == {"model": 96}  # in samples at 16 kHz
    for name in HIGH:
        assert mean_of(result, "model", name) == pytest.approx(mean_of(result, "halved", name), abs=0.1)


def test_a_full_band_mix_is_the_mix_at_16_khz_with_its_high_band(wide):
    mix = from_mixes(wide / "clean", wide / "noisy", (5.0,), seed=3).all[0].noisy
    low, full = load(mix, 16_000), load(mix, 48_000)
    differences = np.abs(resample(full.samples, 48_000) - low.samples)
    assert (
        np.quantile(differences, 0.99) < 2e-3 < 0.1 * np.std(low.samples)
    )  # all but those where the noise starts again
    added = full.samples - load(mix.clean, 48_000).samples
    assert np.std(above_8_khz(added)) > 0.1 * np.std(added)


def test_a_part_of_a_full_band_recording_is_scored_like_a_file(wide):
    for side in ("clean", "noisy"):
        samples, rate_hz = soundfile.read(wide / side / "1.wav", dtype="float32")
        soundfile.write(wide / side / "part.wav", samples[24_000:72_000], rate_hz, "FLOAT")
    rows = ["noisy,clean,offset,duration", "noisy/1.wav,clean/1.wav,0.5,1.0", "noisy/part.wav,clean/part.wav,,"]
    (wide / "list.csv").write_text("\n".join(rows) + "\n")
    part, file = score_here(from_set(wide / "list.csv"), HIGH).cases
    assert part.scores == file.scores


def test_a_recording_of_a_low_rate_has_no_scores_above_8_khz(wide):
    samples, _ = soundfile.read(wide / "noisy" / "0.wav", dtype="float32")
    soundfile.write(wide / "noisy" / "0.wav", resample(samples, 48_000), 16_000)
    first, second = score_here(from_folders(wide / "noisy", wide / "clean"), HIGH, {"model": Halving()}).cases
    for system in ("noisy", "model"):
        assert {first.scores[system][name] for name in FULL_BAND} == {Undefined("recorded below 32 kHz")}
        assert first.scores[system]["stoi"] > 0.5
        assert isinstance(second.scores[system]["high_lsd_db"], float)
    mix = NoiseMix(wide / "clean" / "1.wav", wide / "noisy" / "0.wav", 5.0, seed=1)
    assert load(mix, 48_000).recorded_hz == 16_000


def test_the_cache_is_shared_by_evaluations_with_and_without_the_high_band(wide, monkeypatch):
    cases, cache = from_folders(wide / "noisy", wide / "clean"), ScoreCache(wide / "scores")
    first = score_here(cases, QUICK, cache=cache)
    second = score_here(cases, HIGH, cache=cache)
    with sqlite3.connect(cache.path) as database:
        assert database.execute("SELECT count(*) FROM scores").fetchone() == (2 * len(HIGH),)
    monkeypatch.setattr("segan_cli.evaluation.scoring.measure_pair", lambda *_: pytest.fail("measured again"))
    for names, result in ((QUICK, first), (HIGH, second)):
        found = score(wide / "clean" / "0.wav", wide / "noisy" / "0.wav", names, cache=cache)
        assert found.scores == result.cases[0].scores["noisy"]


def test_a_measure_that_is_best_at_0_is_compared_by_its_absolute_value(wide):
    result = score_here(from_folders(wide / "noisy", wide / "clean"), tuple(FULL_BAND), {"halved": wide / "halved"})
    for i, levels in enumerate(((8.0, -3.0), (-5.0, -6.0))):
        for system, level_db in zip(("noisy", "halved"), levels, strict=True):
            result.cases[i].results[system].scores["high_pause_db"] = level_db
    report = json.loads(write_json(build_report(result, {})))
    assert report["summary"]["noisy"]["high_pause_db"]["mean"] == 1.5
    assert report["differences"][0]["measures"]["high_pause_db"]["mean"] == (-5.0 + 1.0) / 2
    assert compare_reports(report, report)["halved"]["high_pause_db"].mean == 0.0
    assert measure_label(report, "high_pause_db") == "High-band level in pauses (dB) → 0"
    assert measure_label(report, "high_pause_db", change=True) == "|High-band level in pauses| (dB) ↓"
    ranked = [worst_to_best(replace(result, measures=("high_pause_db",)), system) for system in ("noisy", "halved")]
    assert ranked == [[0, 1], [1, 0]]


# Statistics and reports


@pytest.mark.parametrize("n", [2, 3, 60])
def test_the_interval_covers_the_mean_at_its_confidence_level(n):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(1_000):
        one = summarise(rng.normal(3.0, 1.0, n).tolist())
        assert one.high - one.mean == pytest.approx(one.mean - one.low)
        held += one.low < 3.0 < one.high
    assert 930 <= held <= 970


def test_statistics_of_few_or_no_scores_are_defined():
    assert summarise([Undefined("silent")]).mean is None
    one = summarise([2.0, Undefined("silent")])
    assert (one.mean, one.median, one.low, one.high, one.defined, one.undefined) == (2.0, 2.0, None, None, 1, 1)
    same = summarise([1.0] * 5)
    assert (same.low, same.high) == (1.0, 1.0)


def test_differences_are_taken_file_by_file():
    silent = Undefined("silent")
    assert differences([2.0, silent, 3.0], [1.0, 1.0, silent]) == [1.0, silent, silent]


def test_a_report_goes_to_every_format(pairs):
    result = run(pairs, {"half": Halved()})
    report = json.loads(write_json(build_report(result, {"command": "segan evaluate"})))
    assert report["systems"] == ["noisy", "half"]
    assert report["differences"][0]["measures"]["si_sdr_db"]["mean"] == pytest.approx(0.0, abs=1e-4)
    lines = to_csv(report).splitlines()
    assert lines[0] == "name,noisy stoi,noisy si_sdr_db,half stoi,half si_sdr_db"
    assert float(lines[1].split(",")[2]) == report["files"][0]["scores"]["noisy"]["si_sdr_db"]
    page = to_markdown(report)
    assert f"| noisy | {report['summary']['noisy']['stoi']['mean']:.3f} [" in page


def test_an_ambiguous_file_name_is_not_matched(pairs):
    for side in ("noisy", "clean"):
        for folder in "ab":
            (pairs / "set" / side / folder).mkdir(parents=True)
            shutil.copy(pairs / side / f"u{'ab'.index(folder)}.wav", pairs / "set" / side / folder / "x.wav")
        shutil.copy(pairs / side / "u2.wav", pairs / "set" / side / "y.wav")
    (pairs / "out").mkdir()
    for name, source in (("x", "u0"), ("y", "u2")):
        shutil.copy(pairs / "clean" / f"{source}.wav", pairs / "out" / f"{name}.wav")
    matched, skipped = match_enhanced(pairs / "out", from_folders(pairs / "set" / "noisy", pairs / "set" / "clean").all)
    assert matched == {"y": pairs / "out" / "y.wav"}
    assert skipped == [
        f"{pairs / 'out' / 'x.wav'}: matches several noisy files, such as that of {name}" for name in ("a/x", "b/x")
    ]


def test_a_signal_that_is_not_finite_is_silent_in_the_page(pairs):
    samples, rate_hz = soundfile.read(pairs / "noisy" / "u0.wav", dtype="float32")
    samples[5] = np.nan
    soundfile.write(pairs / "noisy" / "u0.wav", samples, rate_hz, "FLOAT")
    result = run(pairs, {"half": Halved()})
    content = build_report(result, {"command": "segan evaluate"})
    assert content["summary"]["noisy"]["stoi"]["undefined"] == 1
    assert "u0" in to_html(content, result)
    failing = SimpleNamespace(enhance=Mock(side_effect=AudioError("some samples are NaN")))
    skipped = run(pairs, {"failing": failing}).inputs["skipped"]
    assert skipped[0] == "u0 by failing: some samples are NaN"


def test_two_reports_are_compared_file_by_file(pairs, tmp_path):
    first = json.loads(write_json(build_report(run(pairs, {"a": Halved()}), {})))
    rewrite(pairs / "noisy" / "u0.wav", lambda x: x + hiss(2.0, seed=8, level=0.1))
    second = json.loads(write_json(build_report(run(pairs, {"b": Halved()}), {})))
    found = compare_reports(first, second)
    assert list(found) == ["noisy", "b - a"]
    scores = [r["files"][0]["scores"]["noisy"]["si_sdr_db"] for r in (first, second)]
    assert found["noisy"]["si_sdr_db"].mean == pytest.approx((scores[1] - scores[0]) / 4)
    (tmp_path / "other.json").write_text('{"a": 1}')
    for path, says in ((tmp_path / "other.json", "not a report"), (tmp_path / "none.json", "cannot be read")):
        with pytest.raises(CorpusError, match=says):
            load_report(path)
    measures = {name: {**about, "unit": None} for name, about in first["measures"].items()}
    files = [{**file, "scores": {"a": file["scores"]["a"]}} for file in first["files"]]
    for key, value in (("measures", measures), ("files", files)):
        (tmp_path / "damaged.json").write_text(json.dumps({**first, key: value}))
        with pytest.raises(CorpusError, match=f"damaged.json: invalid {key}"):
            load_report(tmp_path / "damaged.json")
    nothing = {**second, "files": []}
    with pytest.raises(CorpusError, match="in common"):
        compare_reports(first, nothing)


def test_a_report_has_all_measures_of_the_catalogue(pairs):
    result = score_here(from_folders(pairs / "noisy", pairs / "clean"), tuple(WITH_REFERENCE))
    assert set(build_report(result, {})["summary"]["noisy"]) == set(WITH_REFERENCE)
    assert all(isinstance(row, CaseScores) for row in result.cases)


def test_a_set_of_which_nothing_can_be_used_names_the_first_file():
    message = "set: none of its recordings can be used; first: a.wav: broken"
    with pytest.raises(CorpusError, match=re.escape(message)):
        unique_cases([], ["a.wav: broken", "b.wav: broken"], Path("set"))
