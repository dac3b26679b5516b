"""Every corpus is recognised for what it is, down to the last broken file, and no voice is on both sides of a split."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import hiss, voice
from corpora import LAYOUTS, librispeech, noises, plain, speak, vctk92, voicebank

from segan_cli.config.training import DataConfig, MixingConfig
from segan_cli.data.cache import Cache
from segan_cli.data.layouts import scan_noise, scan_rirs, scan_speech
from segan_cli.data.names import is_evaluation_set
from segan_cli.data.recordings import describe_corpus, parse_weight
from segan_cli.data.training_data import load_split, load_training_data, save_split
from segan_cli.errors import ConfigError, CorpusError


def open_all(tmp_path, before=None, seed=0, **data):
    config = DataConfig(**{kind: tuple(map(str, places)) for kind, places in data.items()})
    return load_training_data(config, MixingConfig(), seed, Cache(tmp_path / "cache", 16_000), before)


def held(sources, kind, side):
    recordings = sources.splits[kind][side].all
    return {r.group for r in recordings}, {r.entry.digest for r in recordings}, {r.name for r in recordings}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_corpus_layout_is_recognised_and_split_without_shared_speakers(layout, tmp_path):
    expected = layout(tmp_path / "corpus")
    place = tmp_path / "corpus" / expected.get("place", "")
    paired = layout.__name__ in ("voicebank", "pairs", "csv_manifest")
    noise = [] if paired else [noises(tmp_path / "noise")]
    for seed in range(3):
        sources = open_all(tmp_path, seed=seed, speech=[place], noise=noise)
        found = sources.corpora[0]
        assert (found.layout, found.utterances, found.groups, len(found.skipped), set(found.rates_hz)) == (
            expected["layout"], expected["files"], expected["speakers"], expected["left"], expected["rates"]
        ), found.skipped  # fmt: skip
        assert found.kind == ("pairs" if paired else "speech")
        for kind in ("speakers", "noise"):
            ours, theirs = held(sources, kind, 0), held(sources, kind, 1)
            assert not any(a & b for a, b in zip(ours, theirs, strict=True)), kind
            if kind == "speakers" or noise:
                assert all(ours), kind
                assert all(theirs), kind
        if layout.__name__ == "ljspeech":
            assert "one speaker" in sources.notes[0]
        rng = np.random.default_rng(0)
        for source in (sources.training, sources.validation):
            noisy, clean = source.render(source.draw(rng, 4_000))
            assert noisy.shape == clean.shape == (4_000,)
            assert noisy.any()


def test_skipped_files_are_listed_with_a_reason(tmp_path):
    plain(tmp_path / "corpus")
    (found,) = open_all(tmp_path, speech=[tmp_path / "corpus"]).corpora
    reasons = {line.rpartition("/")[2].partition(":")[0]: line for line in found.skipped}
    for name, reason in {
        "bad_text.wav": "not a readable audio file", "bad_empty.wav": "empty", "bad_silent.wav": "silent",
        "bad_short.wav": "shorter than 0.1 s", "bad_clipped.wav": "clipped", "bad_telephone.wav": "8000 Hz",
        "bad_nan.wav": "NaN",
    }.items():  # fmt: skip
        assert reason in reasons[name]
    (doubled,) = [line for line in found.skipped if "same content" in line]
    assert "ben" in doubled


def test_a_speaker_in_two_corpora_is_in_one_part_of_the_split_only(tmp_path):
    """p226 speaks in VCTK and in VoiceBank-DEMAND."""
    vctk92(tmp_path / "vctk")
    voicebank(tmp_path / "voicebank")
    for seed in range(8):
        sources = open_all(tmp_path, seed=seed, speech=[tmp_path / "vctk", tmp_path / "voicebank"])
        ours, theirs = (held(sources, "speakers", side)[0] for side in (0, 1))
        assert "vctk:p226" in ours | theirs
        assert not ours & theirs
        assert len(sources.training.speech)
        assert len(sources.training.pairs)


def test_named_validation_data_is_excluded_from_training(tmp_path):
    librispeech(tmp_path / "libri")
    for name, seed in (("copy", 20), ("other", 7)):
        speak(tmp_path / "mine" / f"{name}.wav", seed)
    subset = tmp_path / "libri" / "LibriSpeech" / "train-clean-100"
    (tmp_path / "mine" / "copy.wav").write_bytes((subset / "19" / "7" / "19-7-0000.flac").read_bytes())
    sources = open_all(tmp_path, speech=[tmp_path / "libri"], valid_speech=[subset / "26", tmp_path / "mine"])
    groups, digests, names = held(sources, "speakers", 0)
    assert groups == {"librivox:27"}  # the copy is of a voice that is in validation, too
    assert len(names) == 4
    assert not digests & held(sources, "speakers", 1)[1]
    assert "8 recordings" in sources.notes[0]
    with pytest.raises(CorpusError, match="all speakers"):
        open_all(tmp_path, speech=[subset / "26"], valid_speech=[subset])


def test_a_split_is_kept_when_data_is_added(tmp_path):
    plain(tmp_path / "corpus")
    first = open_all(tmp_path, speech=[tmp_path / "corpus"], noise=[noises(tmp_path / "noise")])
    save_split(tmp_path / "split.json", first)
    written = json.loads((tmp_path / "split.json").read_text())
    assert {*written["speakers"]["training"], *written["speakers"]["validation"]} == held(first, "speakers", 0)[
        0
    ] | held(first, "speakers", 1)[0]
    for i in range(6):
        speak(tmp_path / "corpus" / f"new{i}" / "0.wav", 70 + i)
        soundfile.write(tmp_path / "noise" / f"new{i}.wav", hiss(1.0, seed=70 + i), 16_000)
    again = open_all(
        tmp_path, load_split(tmp_path / "split.json"), speech=[tmp_path / "corpus"], noise=[tmp_path / "noise"]
    )
    for kind in ("speakers", "noise"):
        assert held(again, kind, 1) == held(first, kind, 1)
        assert len(held(again, kind, 0)[2]) == len(held(first, kind, 0)[2]) + 6
    (tmp_path / "split.json").write_text("[]")
    with pytest.raises(CorpusError, match=r"split\.json"):
        load_split(tmp_path / "split.json")


def test_a_split_is_kept_when_one_speaker_becomes_two(tmp_path):
    """The first start held out recordings of the only speaker."""
    rows = [f"{name}{i}.wav,{name}" for name in ("ann", "bob") for i in range(4)]
    for i, row in enumerate(rows):
        speak(tmp_path / row.partition(",")[0], i)
    (tmp_path / "m.csv").write_text("\n".join(["path,speaker", *rows[:4]]) + "\n")
    first = open_all(tmp_path, speech=[tmp_path / "m.csv"])
    save_split(tmp_path / "split.json", first)
    (tmp_path / "m.csv").write_text("\n".join(["path,speaker", *rows]) + "\n")
    again = open_all(tmp_path, load_split(tmp_path / "split.json"), speech=[tmp_path / "m.csv"])
    assert held(again, "speakers", 1)[1] == held(first, "speakers", 1)[1]
    assert len(held(again, "speakers", 0)[2]) == len(held(first, "speakers", 0)[2]) + 4


def test_recordings_of_a_training_never_move_to_validation(tmp_path):
    noises(tmp_path / "noise")
    plain(tmp_path / "corpus")
    data = {"speech": [tmp_path / "corpus"], "noise": [tmp_path / "noise"]}
    first = open_all(tmp_path, **data)
    save_split(tmp_path / "split.json", first)
    for name in held(first, "noise", 1)[2]:
        Path(name).unlink()
    soundfile.write(tmp_path / "noise" / "new.wav", hiss(1.0, seed=90), 16_000)
    with pytest.raises(CorpusError, match="no longer contains any of the noise recordings that this run validates on"):
        open_all(tmp_path, load_split(tmp_path / "split.json"), **data)
    for path in [*(tmp_path / "noise").rglob("*.wav")][1:]:
        path.unlink()
    alone = open_all(tmp_path, **data)  # all of a single recording is for training …
    save_split(tmp_path / "split.json", alone)
    for i in range(3):
        soundfile.write(tmp_path / "noise" / f"more{i}.wav", hiss(1.0, seed=91 + i), 16_000)
    again = open_all(tmp_path, load_split(tmp_path / "split.json"), **data)  # … and stays so
    assert [len(side) for side in again.splits["noise"]] == [4, 0]


def test_a_speaker_held_out_before_is_held_out_again_after_an_absence(tmp_path):
    plain(tmp_path / "corpus")
    for i in range(20):
        speak(tmp_path / "corpus" / f"more{i}" / "0.wav", 70 + i)
    data = {"speech": [tmp_path / "corpus"]}
    first = open_all(tmp_path, **data)
    save_split(tmp_path / "split.json", first)
    group = min(held(first, "speakers", 1)[0])
    folder = Path(min(r.name for r in first.splits["speakers"][1].all if r.group == group)).parent
    folder.rename(tmp_path / "away")
    without = open_all(tmp_path, load_split(tmp_path / "split.json"), **data)
    assert without.notes == (f"1 of the speakers that validated before are gone, such as {group}",)
    save_split(tmp_path / "split.json", without)
    (tmp_path / "away").rename(folder)
    again = open_all(tmp_path, load_split(tmp_path / "split.json"), **data)
    assert (held(again, "speakers", 1), again.notes) == (held(first, "speakers", 1), ())


@pytest.mark.parametrize("rows", [("a.wav,one,0,1", "a.wav,two,1,2"), ("a.wav,one,0,1", "./a.wav,two,1,2")])
def test_parts_of_one_noise_file_stay_on_one_side(tmp_path, rows):
    plain(tmp_path / "corpus")
    (tmp_path / "noise").mkdir()
    for i, name in enumerate("abc"):
        soundfile.write(tmp_path / "noise" / f"{name}.wav", hiss(2.0, seed=i), 16_000)
    table = ["path,recording,start,end", *rows, "b.wav,three,0,1"]
    (tmp_path / "noise" / "m.csv").write_text("\n".join(table) + "\n")
    for seed in range(4):
        data = {"speech": [tmp_path / "corpus"], "noise": [tmp_path / "noise" / "m.csv", tmp_path / "noise"]}
        sources = open_all(tmp_path, seed=seed, **data)
        digests = [held(sources, "noise", side)[1] for side in (0, 1)]
        assert digests[1]
        assert not digests[0] & digests[1]


def test_noises_cut_from_one_recording_share_a_group(tmp_path):
    corpus = scan_noise(str(noises(tmp_path)))
    groups = {utterance.path.name: utterance.group for utterance in corpus.utterances}
    assert len(groups) == 9
    assert groups["ch01.wav"] == groups["ch03.wav"]
    assert groups["1-100032-A-0.wav"] == groups["1-100032-B-0.wav"] != groups["1-100038-A-0.wav"]
    assert len(set(groups.values())) == 6


def test_a_single_noise_recording_is_validated_on_generated_noises(tmp_path):
    plain(tmp_path / "corpus")
    for channel in (1, 2):
        (tmp_path / "noise").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "noise" / f"ch{channel:02d}.wav", hiss(1.0, seed=channel), 16_000)
    sources = open_all(tmp_path, speech=[tmp_path / "corpus"], noise=[tmp_path / "noise"])
    assert any("generated" in note for note in sources.notes)
    assert sources.validation.draw(np.random.default_rng(1), 1000).noises == ()


def test_validation_noise_that_leaves_none_for_training_is_refused(tmp_path):
    plain(tmp_path / "corpus")
    for name in "ab":
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "hum.wav", hiss(1.0, seed=ord(name)), 16_000)
    noise = [tmp_path / "a"]
    with pytest.raises(CorpusError, match="validation contains all recordings of --noise; choose"):
        open_all(tmp_path, speech=[tmp_path / "corpus"], noise=noise, valid_noise=noise)
    sources = open_all(tmp_path, speech=[tmp_path / "corpus"], noise=noise, valid_noise=[tmp_path / "b"])
    assert [len(side) for side in sources.splits["noise"]] == [1, 1]


def test_a_number_after_a_colon_is_a_weight_unless_the_whole_names_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks:2").mkdir()
    entries = ("talks:2", "talks:3", "talks:0.5", "talks", "C:talks", ":3")
    assert [parse_weight(entry) for entry in entries] == [
        ("talks:2", 1.0), ("talks", 3.0), ("talks", 0.5), ("talks", 1.0), ("C:talks", 1.0), (":3", 1.0)
    ]  # fmt: skip
    assert [parse_weight(f"talks:{weight}")[1] for weight in ("0.001", "1000")] == [0.001, 1000]
    for weight in ("0", "-1", "inf", "nan", "0.00099", "1001", "1e308"):
        with pytest.raises(ConfigError, match=f"talks:{weight}: weight {weight}; it must lie between 0.001 and 1000"):
            parse_weight(f"talks:{weight}")


def test_sampling_probability_is_proportional_to_weight(tmp_path):
    for name in ("one", "two"):
        for speaker in "abc":
            speak(tmp_path / name / speaker / "0.wav", hash((name, speaker)) % 1000)
    sources = open_all(tmp_path, speech=[f"{tmp_path}/one:3", tmp_path / "two"])
    rng = np.random.default_rng(0)
    drawn = [sources.training.draw(rng, 100).speech.name for _ in range(2_000)]
    seconds = {
        name: sum(r.length for r in sources.training.speech.all if f"/{name}/" in r.name) for name in ("one", "two")
    }
    share = sum("/one/" in name for name in drawn) / len(drawn)
    assert share == pytest.approx(3 * seconds["one"] / (3 * seconds["one"] + seconds["two"]), abs=0.04)
    with pytest.raises(ConfigError, match="weight -1; it must lie between"):
        open_all(tmp_path, speech=[f"{tmp_path}/one:-1"])


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.mkdir(), "no audio files"),
        (lambda root: root.write_text("a file"), "is a file"),
        (lambda root: [(root / side).mkdir(parents=True) for side in ("clean", "noisy")], "no audio files"),
        (lambda root: speak(root / "only.wav", 0), "a single recording cannot be split"),
        (lambda root: (root.mkdir(), (root / "a.wav").write_text("x")), "none of its files can be used"),
        (
            lambda root: [speak(root / side / f"{side}.wav", 0) for side in ("clean", "noisy")],
            "no noisy file has a clean file with the same name",
        ),
    ],
)
def test_a_folder_without_training_data_is_refused_in_one_line(prepare, message, tmp_path):
    prepare(tmp_path / "corpus")
    with pytest.raises(CorpusError, match=message) as caught:
        open_all(tmp_path, speech=[tmp_path / "corpus"])
    assert str(tmp_path / "corpus") in str(caught.value) or "split" in message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "sound,speaker\nx.wav,a\n", "no column with paths"),
        ("a.csv", "", "no rows"),
        ("a.jsonl", '{"clean": "x.wav"}\nnonsense\n', "line 2: not JSON"),
        ("a.jsonl", '["x.wav"]\n', "line 1: not an object"),
        ("a.csv", "clean\nnone.wav\n", "none of its rows"),
        ("b.csv", None, "cannot be read"),
    ],
)
def test_an_unusable_manifest_is_refused_in_one_line(name, text, message, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=message):
        open_all(tmp_path, speech=[tmp_path / name])


def test_recorded_pairs_need_no_noise(tmp_path):
    voicebank(tmp_path / "pairs")
    with pytest.raises(CorpusError, match="omit --noise"):
        open_all(tmp_path, speech=[tmp_path / "pairs"], noise=[noises(tmp_path / "noise")])


def test_an_official_test_set_is_used_when_it_alone_is_named(tmp_path):
    voicebank(tmp_path / "all")
    for side in ("clean", "noisy"):
        (tmp_path / "all" / f"{side}_testset_wav").rename(
            (tmp_path / "test").mkdir(exist_ok=True) or tmp_path / "test" / f"{side}_testset_wav"
        )
    assert len(scan_speech(str(tmp_path / "test")).utterances) == 3
    librispeech(tmp_path / "libri")
    assert len(scan_speech(str(tmp_path / "libri" / "LibriSpeech" / "dev-clean")).utterances) == 4


def test_links_are_followed_once(tmp_path):
    speak(tmp_path / "real" / "a" / "0.wav", 0)
    speak(tmp_path / "real" / "b" / "0.wav", 1)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "corpus" / "linked again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "a" / "loop").symlink_to(tmp_path / "real")
    soundfile.write(tmp_path / "corpus" / "own.wav", voice(0.5, seed=9), 16_000)
    assert len(scan_speech(str(tmp_path / "corpus")).utterances) == 3


def test_a_stray_file_does_not_undo_a_layout(tmp_path):
    librispeech(tmp_path / "d")
    speak(tmp_path / "d" / "LibriSpeech" / "intro.flac", 99)
    corpus = scan_speech(str(tmp_path / "d"))
    assert corpus.layout == "LibriSpeech"
    assert len(corpus.utterances) == 12
    assert any("intro.flac" in line for line in corpus.skipped)
    plain(tmp_path / "p")
    speak(tmp_path / "p" / "sample.wav", 98, seconds=0.15)
    for seed in range(4):
        sources = open_all(tmp_path, seed=seed, speech=[tmp_path / "p"])
        assert sources.splits["speakers"][1].n_samples() > 20_000


@pytest.mark.parametrize("layout", [LAYOUTS[3], LAYOUTS[4], LAYOUTS[6]], ids=lambda layout: layout.__name__)
def test_an_archive_beside_the_unpacked_folder_is_ignored(layout, tmp_path):
    expected = layout(tmp_path / "d")
    (tmp_path / "d" / "download.tar.gz").write_bytes(b"what was unpacked")
    corpus = scan_speech(str(tmp_path / "d"))
    assert (corpus.layout, len(corpus.utterances)) == (expected["layout"], expected["files"])


def test_one_clean_file_with_several_noisy_ones_is_in_one_part_of_the_split_only(tmp_path):
    rows = ["clean,noisy,speaker"]
    for speaker in "abc":
        speak(tmp_path / "clean" / f"{speaker}.wav", ord(speaker))
        for snr in (0, 5):
            speak(tmp_path / f"noisy{snr}" / f"{speaker}.wav", ord(speaker) + snr, noisy=True)
            rows.append(f"clean/{speaker}.wav,noisy{snr}/{speaker}.wav,{speaker}{snr}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    sources = open_all(tmp_path, speech=[tmp_path / "list.csv"])
    rendered = {recording.name: recording.noisy.digest for recording in sources.training.pairs.all}
    assert len(set(rendered.values())) == len(rendered) == 4
    assert not held(sources, "speakers", 0)[1] & held(sources, "speakers", 1)[1]


def test_dns_pairs_are_matched_by_number(tmp_path):
    for i in range(6):
        speak(tmp_path / "clean" / f"clean_fileid_{i}.wav", i)
        speak(tmp_path / "noisy" / f"book_{i % 3}_reader_0{i % 3}_snr{i}_fileid_{i}.wav", i, noisy=True)
    assert len(scan_speech(str(tmp_path)).utterances) == 6


@pytest.mark.parametrize(
    ("clean", "other", "message"),
    [
        ("clean", "noise", "contains noise besides speech"),
        ("train/speech", "train/Noise", "contains Noise besides speech"),
        ("a/speech", "b/noise_train/x", "contains b/noise_train besides speech"),
        ("a", "NOISY", "contains NOISY; give its clean folder"),
        ("en/train/clean", "de/train/noisy", "contains de/train/noisy; give its clean folder"),
        ("en/clean", "de/train_noisy", "contains de/train_noisy; give its clean folder"),
        ("clean_fullband", "noise_fullband", "contains noise_fullband besides speech"),
        ("a", "noisy_16k", "contains noisy_16k; give its clean folder"),
        ("a", "noisyreverb_trainset_wav", "contains noisyreverb_trainset_wav; give its clean folder"),
        ("yes", "_background_noise_", "contains _background_noise_ besides speech; .* and use --noise"),
        ("isolated", "backgrounds", "contains backgrounds besides speech"),
        ("a", "pointsource_noises", "contains pointsource_noises besides speech"),
        ("a", "impulse_responses", "contains impulse_responses besides speech; .* and use --rir"),
        ("a", "rir_16k", "contains rir_16k besides speech; .* and use --rir"),
    ],
)
def test_noise_beside_speech_is_not_taken_for_speech(tmp_path, clean, other, message):
    speak(tmp_path / clean / "a.wav", 0)
    speak(tmp_path / other / "a.wav", 1)
    with pytest.raises(CorpusError, match=message):
        scan_speech(str(tmp_path))


@pytest.mark.parametrize(
    "folder", ["noise_reduced", "noise-free", "no_noise", "non_noisy", "less noisy", "my-noisy-life", "ch1 noise ch2"]
)
def test_folders_whose_names_only_mention_noise_are_speech(tmp_path, folder):
    speak(tmp_path / folder / "a.wav", 0)
    speak(tmp_path / "raw" / "a.wav", 1)
    assert len(scan_speech(str(tmp_path)).utterances) == 2


@pytest.mark.parametrize(
    ("name", "is_evaluation"),
    [
        ("Devon", False), ("Device1", False), ("contest", False), ("tests", True), ("test set", True),
        ("testdata", True), ("latest_dev", True), ("val", True), ("clean_eval", True), ("evaluation", True),
        ("value", False), ("interval", False),
        ("training_data", False), ("dev-clean", True), ("TEST", True), ("testset_wav", True), ("valid1", True),
        ("clean_testset_wav", True), ("noisy_trainset_28spk_wav", False), ("test/train", False), ("train/test", True),
        ("validation", True), ("test-clean", True), ("dev", True),
    ],
)  # fmt: skip
def test_names_of_test_sets_are_told_from_others(name, is_evaluation):
    assert is_evaluation_set(name) == is_evaluation


@pytest.mark.parametrize("names", [("CLEAN", "NOISY"), ("clean", "Noisy"), ("Clean_train", "noisy_TRAIN")])
def test_pairs_are_found_whatever_the_case_of_their_folders(tmp_path, names):
    for name in names:
        for i in range(2):
            speak(tmp_path / "x" / name / f"{i}.wav", i)
    corpus = scan_speech(str(tmp_path))
    assert (corpus.layout, len(corpus.utterances)) == ("noisy/clean pairs", 2)
    assert corpus.utterances[0].path.parent.name == names[0]


@pytest.mark.parametrize("place", ["corpora", "dev_corpora", "x/my-test-data"])
def test_sets_are_recognised_by_their_own_names_and_not_by_those_above(tmp_path, place):
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        speak(tmp_path / place / subset / "14" / "208" / "14-208-0001.flac", 0)
    assert [u.path.parts[-4] for u in scan_speech(str(tmp_path / place)).utterances] == ["train-clean-100"]
    for subset in ("trainset_28spk", "testset"):
        for side in ("clean", "noisy"):
            speak(tmp_path / "pairs" / "vb-test" / f"{side}_{subset}_wav" / "p226_001.wav", 0)
    for top in ("pairs", "pairs/vb-test"):
        speak(tmp_path / "pairs" / "other" / "p227_001.wav", 1)
        (pair,) = scan_speech(str(tmp_path / top)).utterances
        assert pair.path.parts[-2] == "clean_trainset_28spk_wav"


def test_parts_and_versions_of_a_file_of_one_speaker_stay_on_one_side(tmp_path):
    rows = ["clean,speaker,offset,duration"]
    pairs = ["clean,noisy,speaker"]
    for i, name in enumerate("abcdef"):
        speak(tmp_path / f"{name}.wav", i)
        rows += [f"{name}.wav,anna,{start},0.3" for start in (0, 0.1, 0.2)]
        for j in range(3):
            speak(tmp_path / f"{name}_{j}.wav", 10 * i + j, noisy=True)
            pairs.append(f"{name}.wav,{name}_{j}.wav,anna")
    for table in (rows, pairs):
        (tmp_path / "m.csv").write_text("\n".join(table) + "\n")
        for seed in range(5):
            sources = open_all(tmp_path, seed=seed, speech=[tmp_path / "m.csv"])
            ours, theirs = (held(sources, "speakers", side) for side in (0, 1))
            assert ours[1]
            assert theirs[1]
            assert not ours[1] & theirs[1]
            again = open_all(tmp_path, {"speakers": frozenset(theirs[0])}, speech=[tmp_path / "m.csv"])
            assert held(again, "speakers", 1) == theirs


def test_parts_of_the_only_file_are_split_and_earlier_splits_are_kept(tmp_path):
    rows = [f"{name}.wav,anna,{start / 10},0.3" for name in "ab" for start in range(6)]
    for i, name in enumerate("ab"):
        speak(tmp_path / f"{name}.wav", i, seconds=1.0)
    for n_files in (1, 2):
        (tmp_path / "m.csv").write_text("\n".join(["clean,speaker,offset,duration", *rows[: 6 * n_files]]) + "\n")
        sources = open_all(tmp_path, speech=[tmp_path / "m.csv"])
        assert all(len(side) for side in sources.splits["speakers"])
        names = frozenset(sorted(recording.name for side in sources.splits["speakers"] for recording in side.all)[1:3])
        again = open_all(tmp_path, {"speakers": names}, speech=[tmp_path / "m.csv"])  # as an earlier version split it
        assert held(again, "speakers", 1)[2] == names


def test_one_speaker_makes_no_babble(tmp_path):
    for i in range(8):
        speak(tmp_path / "LJSpeech" / "wavs" / f"LJ001-{i:04d}.wav", i, 22_050)
    (tmp_path / "LJSpeech" / "metadata.csv").write_text("LJ001-0000|Printing|Printing\n")
    (tmp_path / "__MACOSX" / "LJSpeech").mkdir(parents=True)  # of the archive
    source = open_all(tmp_path, speech=[tmp_path]).training
    rng = np.random.default_rng(0)
    assert not any(source.draw(rng, 1_000).babble for _ in range(100))


def test_a_corpus_of_duplicates_is_skipped_and_does_not_stop(tmp_path):
    plain(tmp_path / "a")
    speak(tmp_path / "b" / "copy.wav", 10)
    second = open_all(tmp_path, speech=[tmp_path / "a", tmp_path / "b"]).corpora[1]
    assert (second.utterances, len(second.skipped)) == (0, 1)
    assert "same content as another file" in second.skipped[0]
    assert describe_corpus(second) == f"{tmp_path / 'b'}: folder of speech, all skipped"


def test_rows_of_common_voice_that_repeat_or_name_nothing_are_listed_as_such(tmp_path):
    speak(tmp_path / "clips" / "c0.wav", 0)
    (tmp_path / "train.tsv").write_text("\ufeffclient_id\tpath\na\tc0.wav\nb\tc0.wav\nc\t\n")  # of a spreadsheet
    corpus = scan_speech(str(tmp_path))
    assert [u.group for u in corpus.utterances] == ["common-voice:a"]
    assert [line.rpartition("/")[2] for line in corpus.skipped] == [
        "c0.wav: listed more than once in train.tsv", "clips: listed in train.tsv, but missing"
    ]  # fmt: skip


def test_only_the_second_microphone_of_vctk_is_left_out_of_a_plain_folder(tmp_path):
    for name in ("p225_001_mic1", "p225_001_mic2", "talk_mic2"):
        speak(tmp_path / "mixed" / f"{name}.wav", 0)
    speak(tmp_path / "only_mic2" / "p225_001_mic2.wav", 0)
    mixed, second = (scan_speech(str(tmp_path / name)) for name in ("mixed", "only_mic2"))
    assert [utterance.path.name for utterance in mixed.utterances] == ["p225_001_mic1.wav", "talk_mic2.wav"]
    assert mixed.notes == (f"{tmp_path / 'mixed'}: 1 file of the second microphone, not used",)
    assert [utterance.path.name for utterance in second.utterances] == ["p225_001_mic2.wav"]
    assert second.notes == ()


@pytest.mark.parametrize("folder", ["recordings", "vctk/wav48_silence_trimmed"])
def test_files_of_the_second_microphone_are_used_if_there_are_no_others(tmp_path, folder):
    speak(tmp_path / folder / "p225" / "p225_001_mic2.wav", 0)
    corpus = scan_speech(str(tmp_path / folder))
    assert [utterance.path.name for utterance in corpus.utterances] == ["p225_001_mic2.wav"]
    assert corpus.notes == ()


def test_float_files_beyond_full_scale_are_left_out(tmp_path):
    for i in range(3):
        speak(tmp_path / "d" / f"s{i}" / "0.wav", i)
    soundfile.write(tmp_path / "d" / "s0" / "loud.wav", 20 * voice(0.5, seed=5), 16_000, subtype="FLOAT")
    (found,) = open_all(tmp_path, speech=[tmp_path / "d"]).corpora
    assert any("loud.wav: clipped" in line for line in found.skipped)


def test_a_split_whose_speakers_are_gone_is_an_error(tmp_path):
    plain(tmp_path / "corpus")
    with pytest.raises(CorpusError, match="the data no longer contains any of the speakers that this run validates on"):
        open_all(tmp_path, {"speakers": frozenset({"gone"})}, speech=[tmp_path / "corpus"])


@pytest.mark.parametrize(
    ("files", "speakers"),
    [
        (["wav/train/S2/a.wav", "wav/train/S3/a.wav", "wav/dev/S4/a.wav", "wav/test/S5/a.wav"], ["S2", "S3"]),
        (["train/anna/1.wav", "train/ben/1.wav", "val/anna/1.wav", "valid/x.wav"], ["anna", "ben"]),
        (["session1/anna/1.wav", "session2/anna/2.wav", "session2/ben/3.wav"], ["anna", "anna", "ben"]),
        (["female/judy/book/1.wav", "male/elliot/book/1.wav", "mix/kim/book/1.wav"], ["elliot", "judy", "kim"]),
        (["read/a_reader_07_1.wav", "read/b_reader_08_2.wav", "vctk/p225/p225_001.wav", "german/x.wav"],
         ["07", "08", "p225", "german"]),
        (["yes/0a7c2a8d_nohash_0.wav", "no/0a7c2a8d_nohash_1.wav", "no/ffffffff_nohash_0.wav"],
         ["0a7c2a8d", "0a7c2a8d", "ffffffff"]),
        (["wav48/p225_001.wav", "wav48/p226_001.wav"], ["p225", "p226"]),
    ],
)  # fmt: skip
def test_speakers_are_told_from_sets_sessions_and_words(tmp_path, files, speakers):
    for i, name in enumerate(files):
        speak(tmp_path / "corpus" / name, i)
    corpus = scan_speech(str(tmp_path / "corpus"))
    groups = [utterance.group.rpartition(":")[2].rpartition("/")[2] for utterance in corpus.utterances]
    assert sorted(groups) == sorted(speakers)
    left_out = [note for note in corpus.notes if "official test or development set" in note]
    assert sum(int(note.split(": ")[1].split()[0]) for note in left_out) == len(files) - len(speakers)


def test_a_set_is_left_out_only_next_to_a_training_set(tmp_path):
    for folder in ("test", "anna"):
        speak(tmp_path / "mine" / folder / "a.wav", len(folder))
    assert len(scan_speech(str(tmp_path / "mine")).utterances) == 2


def test_speakers_in_sister_folders_of_validation_are_excluded(tmp_path):
    for i, name in enumerate(("train/anna", "train/ben", "train/cleo", "valid/anna", "valid/dora")):
        for j in range(2):
            speak(tmp_path / "mine" / name / f"{i}{j}.wav", 10 * i + j)
    place = tmp_path / "mine"
    sources = open_all(tmp_path, speech=[place / "train"], valid_speech=[place / "valid"])
    assert [len(side.groups()) for side in sources.splits["speakers"]] == [2, 2]
    assert sources.notes[0].startswith("excluded 2 recordings from training")


def test_a_recording_of_freesound_is_on_one_side_of_the_split_in_any_folder(tmp_path):
    for name in ("n/1-100032-A-0.wav", "m/1-100032-C-0.wav", "n/1-17367-A-10.wav"):
        speak(tmp_path / name, hash(name) % 100)
    groups = [utterance.group for place in "nm" for utterance in scan_noise(str(tmp_path / place)).utterances]
    assert groups == ["freesound:100032", "freesound:17367", "freesound:100032"]


def test_only_a_separate_channel_number_is_left_out_of_the_name_of_a_noise(tmp_path):
    for name in ("beach1", "beach2", "church3", "bus.CH1", "bus.CH2", "bus_ch03", "ch01", "ch02"):
        speak(tmp_path / f"{name}.wav", len(name))
    groups = {utterance.group.rpartition(":")[2] for utterance in scan_noise(str(tmp_path)).utterances}
    assert groups == {"beach1", "beach2", "church3", "bus", ""}


def test_other_recordings_are_not_taken_for_noise_or_rooms(tmp_path):
    for name in (
        "musan/noise/a",
        "musan/speech/b",
        "birds/speech/c",
        "x/noise_1",
        "RIRS/simulated_rirs/d",
        "RIRS/pointsource_noises/e",
        "RIRS/real_rirs_isotropic_noises/RWCP_type1_rir_f",
        "RIRS/real_rirs_isotropic_noises/RWCP_type2_noise_g",
    ):
        speak(tmp_path / f"{name}.wav", len(name))  # fmt: skip
    with pytest.raises(CorpusError, match="musan: contains speech besides noise; give the noise folder in it"):
        scan_noise(str(tmp_path / "musan"))
    assert len(scan_noise(str(tmp_path / "birds")).utterances) == 1  # a talker may be a noise
    with pytest.raises(CorpusError, match="contains simulated_rirs besides noise"):
        scan_noise(str(tmp_path / "RIRS"))
    with pytest.raises(CorpusError, match="contains pointsource_noises; give the folder of impulse responses in it"):
        scan_rirs(str(tmp_path / "RIRS"))
    corpus = scan_rirs(str(tmp_path / "RIRS" / "real_rirs_isotropic_noises"))
    assert [utterance.path.stem for utterance in corpus.utterances] == ["RWCP_type1_rir_f"]
    assert corpus.skipped[0].endswith("RWCP_type2_noise_g.wav: noise, as its name says")
    with pytest.raises(CorpusError, match=r"contains noise, as noise_1\.wav says"):
        scan_rirs(str(tmp_path / "x"))


@pytest.mark.parametrize("place", ["wav48/p225/p225_001.wav", "train-clean/19/198/19-198-0001.flac"])
def test_several_corpora_in_one_folder_are_refused(tmp_path, place):
    speak(tmp_path / "all" / "inner" / place, 0)
    speak(tmp_path / "all" / "mine" / "a.wav", 1)
    with pytest.raises(CorpusError, match=r"all: contains inner \((VCTK 0.80|LibriSpeech)\) and more; give a --data"):
        scan_speech(str(tmp_path / "all"))


def test_common_voice_is_read_by_language_and_from_a_table_that_has_rows(tmp_path):
    head = "client_id\tpath\tsentence\n"
    for language in ("en", "de"):
        for name in "ab":
            speak(tmp_path / "cv" / language / "clips" / f"{name}.mp3", ord(name))
        (tmp_path / "cv" / language / "train.tsv").write_text(head)
        (tmp_path / "cv" / language / "validated.tsv").write_text(f"{head}x\ta.mp3\ty\n\tb.mp3\n")
    with pytest.raises(CorpusError, match=r"cv: contains de \(Common Voice\) and more"):
        scan_speech(str(tmp_path / "cv"))
    corpus = scan_speech(str(tmp_path / "cv" / "en"))
    assert [utterance.group for utterance in corpus.utterances] == ["common-voice:x", "common-voice:b.mp3"]
    (tmp_path / "cv" / "en" / "validated.tsv").write_text(head)
    with pytest.raises(CorpusError, match=r"validated.tsv: no rows"):
        scan_speech(str(tmp_path / "cv" / "en"))


def test_skipped_files_are_named_when_the_rest_cannot_be_split(tmp_path):
    speak(tmp_path / "a.wav", 0)
    (tmp_path / "m.csv").write_text("clean\na.wav\nb.wav\n")
    with pytest.raises(CorpusError, match=r"cannot be split.*\(1 file skipped, first: .*m.csv, line 3: b.wav: no such"):
        open_all(tmp_path, speech=[tmp_path / "m.csv"])
