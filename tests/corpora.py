"""Small generated corpora in the layouts of the real ones, with broken files among them."""

import json

import numpy as np
import soundfile
from conftest import hiss, voice

SECONDS = 0.6


def speak(path, seed, rate_hz=16_000, seconds=SECONDS, noisy=False):
    """A file of made-up speech, with hiss if asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.5 * voice(seconds, rate_hz, seed) + (hiss(seconds, rate_hz, seed) if noisy else 0)
    soundfile.write(path, samples, rate_hz)


def spoil(folder, suffix=".wav"):
    """Files that cannot be used: not audio, truncated, silent, clipped, telephone, not a number. → their names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"bad_text{suffix}").write_text("no audio")
    (folder / "bad_empty.wav").write_bytes(b"")
    soundfile.write(folder / "bad_silent.wav", np.zeros(9_600), 16_000)
    soundfile.write(folder / "bad_short.wav", voice(0.05), 16_000)
    soundfile.write(folder / "bad_clipped.wav", np.clip(20 * voice(SECONDS, seed=98), -0.9, 0.9), 16_000)
    soundfile.write(folder / "bad_telephone.wav", voice(SECONDS, 8_000, seed=97), 8_000)
    soundfile.write(folder / "bad_nan.wav", np.full(9_600, np.nan), 16_000, subtype="FLOAT")
    return ["bad_text", "bad_empty", "bad_silent", "bad_short", "bad_clipped", "bad_telephone", "bad_nan"]


def voicebank(root):
    """Two training sets of pairs and a test set; one pair lacks its mate, one is of unequal length."""
    for n, (name, speakers) in enumerate(
        (("trainset_28spk", "p226 p227 p228"), ("trainset_56spk", "p234 p236"), ("testset", "p232"))
    ):
        for i, speaker in enumerate(speakers.split()):
            for j in range(3):
                for side in ("clean", "noisy"):
                    seed = 100 * n + 10 * i + j
                    speak(root / f"{side}_{name}_wav" / f"{speaker}_{j:03d}.wav", seed, 48_000, noisy=side == "noisy")
    (root / "noisy_trainset_28spk_wav" / "p226_000.wav").unlink()
    speak(root / "noisy_trainset_28spk_wav" / "p227_001.wav", 11, 48_000, 1.5, noisy=True)
    return {"layout": "VoiceBank-DEMAND", "files": 13, "speakers": 5, "left": 2, "rates": {48_000}}


def pairs(root):
    """`clean/` and `noisy/` with speakers' folders; formats differ, one end differs by a hundredth of a second."""
    for speaker in "abc":
        for j in range(2):
            speak(root / "clean" / speaker / f"{j}.flac", ord(speaker) + 50 * j, 16_000)
            speak(root / "noisy" / speaker / f"{j}.wav", ord(speaker) + 50 * j, 16_000, 0.61, noisy=True)
    return {"layout": "noisy/clean pairs", "files": 6, "speakers": 3, "left": 0, "rates": {16_000}}


def vctk92(root):
    """VCTK 0.92: two microphones; texts beside."""
    for i, speaker in enumerate(("p225", "p226", "p315", "s5")):
        for j in range(3):
            for mic in (1, 2):
                speak(root / "wav48_silence_trimmed" / speaker / f"{speaker}_{j:03d}_mic{mic}.flac", 10 * i + j, 48_000)
    (root / "txt" / "p225").mkdir(parents=True)
    (root / "txt" / "p225" / "p225_000.txt").write_text("Please call Stella.")
    spoiled = spoil(root / "wav48_silence_trimmed" / "p225")
    return {"layout": "VCTK 0.92", "files": 12, "speakers": 4, "left": len(spoiled), "rates": {48_000}}


def vctk80(root):
    """VCTK 0.80, unpacked into a folder of its own."""
    for i, speaker in enumerate(("p225", "p226", "p227")):
        for j in range(3):
            speak(root / "VCTK-Corpus" / "wav48" / speaker / f"{speaker}_{j:03d}.wav", 10 * i + j, 48_000)
    (root / "VCTK-Corpus" / "speaker-info.txt").write_text("ID AGE")
    return {"layout": "VCTK 0.80", "files": 9, "speakers": 3, "left": 0, "rates": {48_000}}


def librispeech(root):
    """LibriSpeech: a training and a development subset."""
    for subset, readers in (("train-clean-100", (19, 26, 27)), ("dev-clean", (84,))):
        for reader in readers:
            for chapter in (7, 8):
                for j in range(2):
                    name = f"{reader}-{chapter}-{j:04d}.flac"
                    speak(
                        root / "LibriSpeech" / subset / str(reader) / str(chapter) / name,
                        100 * reader + 10 * chapter + j,
                    )
    return {"layout": "LibriSpeech", "files": 12, "speakers": 3, "left": 0, "rates": {16_000}}


def libritts(root):
    """LibriTTS: a single subset, named itself."""
    for reader in (14, 16, 17):
        for j in range(2):
            name = f"{reader}_208_{j:06d}_000001.wav"
            speak(root / "LibriTTS" / "train-clean-100" / str(reader) / "208" / name, reader + 50 * j, 24_000)
    return {"layout": "LibriTTS", "files": 6, "speakers": 3, "left": 0, "rates": {24_000}}


def ljspeech(root):
    """LJSpeech: one reader."""
    for j in range(8):
        speak(root / "LJSpeech-1.1" / "wavs" / f"LJ001-{j:04d}.wav", j, 22_050)
    (root / "LJSpeech-1.1" / "metadata.csv").write_text("LJ001-0000|Printing|Printing\n")
    return {"layout": "LJSpeech", "files": 8, "speakers": 1, "left": 0, "rates": {22_050}}


def common_voice(root):
    """Common Voice: clips named by a table; one is missing, two are not named."""
    rows = ["client_id\tpath\tsentence"]
    for j in range(8):
        speak(root / "clips" / f"common_voice_eo_{j}.mp3", j, 48_000)
        if j < 6:
            rows.append(f'client{j % 3}\tcommon_voice_eo_{j}.mp3\tSaluton "mondo')
    rows.append("client9\tcommon_voice_eo_99.mp3\tFor")
    (root / "train.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"layout": "Common Voice", "files": 6, "speakers": 3, "left": 1, "rates": {48_000}}


def plain(root):
    """A folder a speaker, of mixed formats, with every kind of broken file."""
    for i, speaker in enumerate(("anna", "ben", "carla", "dan")):
        for j, kind in enumerate(("wav", "flac", "ogg")):
            speak(root / speaker / f"take {j}.{kind}", 10 * i + j, (16_000, 44_100, 48_000)[j])
    spoiled = spoil(root / "anna")
    (root / "ben" / "._take 0.wav").write_bytes(b"what a Mac leaves behind")
    speak(root / "ben" / "again.wav", 10)  # the same as ben's first take
    left = len(spoiled) + 1
    return {"layout": "folder of speech", "files": 12, "speakers": 4, "left": left, "rates": {16_000, 44_100, 48_000}}


def flat(root):
    """One folder whose names begin with the speaker."""
    for speaker in ("anna", "ben", "carla"):
        for j in range(3):
            speak(root / f"{speaker}_{j}.wav", ord(speaker[0]) + 10 * j)
    return {"layout": "folder of speech", "files": 9, "speakers": 3, "left": 0, "rates": {16_000}}


def csv_manifest(root):
    """A CSV table with speakers and splits; a row names a file that is not there."""
    rows = ["clean,noisy,speaker,split"]
    for i, speaker in enumerate(("x", "y", "z")):
        for j in range(2):
            speak(root / "a" / f"{speaker}{j}.wav", 10 * i + j)
            speak(root / "b" / f"{speaker}{j}.wav", 10 * i + j, noisy=True)
            rows.append(f"a/{speaker}{j}.wav,b/{speaker}{j}.wav,{speaker},train")
    rows += ["a/none.wav,b/none.wav,x,train", "a/x0.wav,b/x0.wav,x,test"]
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    return {"place": "list.csv", "layout": "manifest", "files": 6, "speakers": 3, "left": 1, "rates": {16_000}}


def jsonl_manifest(root):
    """JSON lines with clean speech."""
    lines = []
    for i in range(6):
        speak(root / f"{i}.wav", i)
        lines.append(json.dumps({"audio_filepath": f"{i}.wav", "speaker": i % 3, "text": "…"}))
    (root / "list.jsonl").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return {"place": "list.jsonl", "layout": "manifest", "files": 6, "speakers": 3, "left": 0, "rates": {16_000}}


LAYOUTS = (
    voicebank, pairs, vctk92, vctk80, librispeech, libritts, ljspeech, common_voice, plain, flat, csv_manifest,
    jsonl_manifest,
)  # fmt: skip


def noises(root):
    """Eight noise recordings: a DEMAND-like one of three channels, clips cut from two recordings, single files."""
    for channel in range(1, 4):
        path = root / "TBUS" / f"ch{channel:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, hiss(1.0, seed=channel), 16_000)
    for clip, take in (("100032", "A"), ("100032", "B"), ("100038", "A")):
        soundfile.write(root / f"1-{clip}-{take}-0.wav", hiss(1.0, seed=int(clip) + ord(take)), 16_000)
    for name in ("fan", "rain", "street"):
        soundfile.write(root / f"{name}.wav", np.cumsum(hiss(1.0, seed=len(name))) * 0.01, 16_000)
    return root
