"""Copying tags, covers and chapters from file to file with mutagen."""

import base64
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segan_cli.audio.ffmpeg import program
from segan_cli.audio.ffmpeg.tracks import FILE_TAGS
from segan_cli.audio.levels import Warn
from segan_cli.audio.tag_names import ID3, MP4_NAMES, OTHER, VIDEO_NAMES
from segan_cli.errors import OutputError

TextTags = dict[str, list[str]]  # by the name of the tag in Vorbis comments

PICTURES = "metadata_block_picture"  # name of the Vorbis comment that holds a picture
MASK = "waveformatextensible_channel_mask"
CHAPTER_FRAMES = ("CHAP", "CTOC", "ETCO", "SYLT", "SYTC", "MLLT", "POSS")  # of ID3: what refers to times
GAPLESS = re.compile(r"(----:com\.apple\.iTunes|COMM):iTunSMPB(:.*)?")  # how many samples the former encoder added
GAIN = re.compile(r"(?:.*:)?(?:replaygain_\w+|r128_\w+|itunnorm|rva2|rvad)(?::.*)?", re.IGNORECASE)  # for players
GAINS_LEFT_OUT = "its ReplayGain tags are left out, because the level was changed"
DAMAGED = (ValueError, LookupError, TypeError, AttributeError, struct.error)  # errors of mutagen for damaged tags
ENCODER_TAGS = ("encoder", "encodersettings", "tsse")  # names of tags about the encoder of the original


def copy_tags(source: Path, target: Path, warn: Warn, chapters: bool) -> bool:
    """Copy tags, covers and, between files of one kind, `chapters` from `source` to `target`.

    Warns about what the target cannot contain. Returns False if `source` is of a kind that mutagen does not read.
    Raises OutputError when the target cannot be written.
    """
    import mutagen

    try:
        before = None if is_misread_by_mutagen(source) else mutagen.File(source)
        texts, covers = ({}, []) if before is None else (read_texts(before.tags), list(read_covers(before)))
        more_tags = read_more_tags(before)
        known = {name.lower() for name in texts}
        more_texts = {name: values for name, values in read_texts(more_tags).items() if name not in known}
        covers = covers or list(read_covers(SimpleNamespace(tags=more_tags)))
    except (mutagen.MutagenError, *DAMAGED) as error:
        warn(f"its tags are left out, because they are damaged ({error})")
        return True
    texts |= more_texts
    if before is None or not (texts or covers or before.tags):
        return before is not None
    after = open_tags(target)
    if after is None:
        warn(f"tags other than title, artist and the like are left out, because {target.suffix} cannot store them")
        return True
    with writing_tags(target):
        if after.tags is None:
            after.add_tags()
        if family(before.tags) == family(after.tags):
            copy_all(before, after, chapters)
            write_texts(after.tags, more_texts)
        else:
            write_texts(after.tags, texts if chapters else {n: t for n, t in texts.items() if not is_chapter(n)})
            if chapters and has_chapters(before) and family(after.tags) != "MP4Tags":  # ffmpeg has copied these
                warn(f"chapters are left out, because {target.suffix} cannot store them")
        if not chapters and has_chapters(before):
            warn("chapters are left out, because this is an excerpt")
        if has_chapters(SimpleNamespace(tags=more_tags)):
            warn("chapters of its ID3 tags are left out, because it has other tags too")
        if not write_covers(after, covers):
            warn(f"its cover is left out, because {target.suffix} cannot store it")
        save_as(before.tags, after)
    return True


def copy_video_tags(source: Path, target: Path, warn: Warn) -> None:
    """Copy the text tags of a file that only ffmpeg reads, such as Matroska, and warn about covers and chapters."""
    media, after = program.probe_media(source), open_tags(target)
    texts = {VIDEO_NAMES.get(name, name): [text] for name, text in media.tags.items() if name not in FILE_TAGS}
    lost = ["chapters"] * bool(media.n_chapters) + ["cover"] * any(stream.is_cover for stream in media.streams)
    if texts and after is None:
        lost.append(f"tags ({', '.join(sorted(texts))})")
    elif texts:
        with writing_tags(target):
            if after.tags is None:
                after.add_tags()
            write_texts(after.tags, texts)
            after.save()
    if lost:
        warn(f"left out, because segan cannot write them to {target.suffix}: {', '.join(lost)}")


@contextmanager
def writing_tags(target: Path) -> Iterator[None]:
    """Raise OutputError for mutagen's errors."""
    import mutagen

    try:
        yield
    except (mutagen.MutagenError, *DAMAGED) as error:
        raise OutputError(f"{target}: its tags cannot be written ({error})") from error


def open_tags(path: Path) -> Any:
    """Open the tags of a new file; None if mutagen cannot read its format, or copied tags that are damaged."""
    import mutagen

    try:
        return mutagen.File(path)
    except (mutagen.MutagenError, *DAMAGED):  # RF64
        return None


def is_misread_by_mutagen(path: Path) -> bool:
    """Whether a file is an AVI or a big-endian WAV, which mutagen mistakes for a damaged WAV."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[8:] == b"AVI " or head[:4] == b"RIFX"


def remove_gains(path: Path, warn: Warn) -> None:
    """Remove the tags that tell players by how much to change the level of a file, and warn about it."""
    file = open_tags(path)
    names = [name for name in (getattr(file, "tags", None) or {}).keys() if GAIN.fullmatch(name)]  # noqa: SIM118
    if names:
        with writing_tags(path):
            for name in names:
                del file.tags[name]
            save_as(file.tags, file)
        warn(GAINS_LEFT_OUT)


def family(tags: Any) -> str:
    """Return the name of mutagen's class of a tag format."""
    classes = {kind.__name__ for kind in type(tags).__mro__}
    return next((name for name in ("ID3Tags", "VComment", "MP4Tags", "APEv2", "ASFTags") if name in classes), "")


def save_as(before: Any, file: Any) -> None:
    """Save the tags of a file, ID3 in version 2.3 if the original tags have it."""
    is_v23 = getattr(before, "version", ())[:2] == (2, 3) and hasattr(file.tags, "update_to_v23")
    file.save(**({"v2_version": 3} if is_v23 else {}))


def is_chapter(name: str) -> bool:
    """Whether a Vorbis comment is about a chapter."""
    return re.match(r"chapter\d", name, re.IGNORECASE) is not None


def has_chapters(file: Any) -> bool:
    """Whether a file has chapters."""
    return bool(getattr(file, "chapters", None)) or any(str(key).startswith("CHAP") for key in file.tags or ())


def read_texts(tags: Any) -> TextTags:
    """Return the text tags of any tag format."""
    from mutagen import apev2

    texts: TextTags = {}
    kind = family(tags)
    if kind == "ID3Tags":
        for frame in (frame for key, frame in tags.items() if not GAPLESS.fullmatch(key)):
            free = frame.desc if frame.FrameID == "TXXX" else frame.FrameID.lower()
            name = {**ID3, "COMM": "comment", "USLT": "lyrics"}.get(frame.FrameID, free)
            text = getattr(frame, "text", None)
            if text:
                texts.setdefault(name, []).extend([text] if isinstance(text, str) else map(str, text))
    elif kind == "MP4Tags":
        for key, value in tags.items():
            name = key.split(":")[-1].lower() if key.startswith("----") else MP4_NAMES.get(key)
            if name is not None and not GAPLESS.fullmatch(key):
                texts[name] = [as_text(one) for one in (value if isinstance(value, list) else [value])]
    else:
        for key in tags.keys() if tags else ():  # Vorbis comments give pairs
            value = tags[key]
            if getattr(value, "kind", apev2.TEXT) != apev2.TEXT:  # a picture
                continue
            values = value if isinstance(value, list) or kind == "APEv2" else [value]
            short = [str(one) for one in values if len(str(one)) < 1 << 16]
            texts[OTHER.get(key.lower(), key.lower())] = short
    left_out = {name for name in texts if name in (*ENCODER_TAGS, PICTURES, MASK) or name.lower().startswith("mp3gain")}
    return {name: values for name, values in texts.items() if name not in left_out}


def read_more_tags(file: Any) -> Any:
    """Read tags of a second format: APE, which an MP3 may have next to ID3, or ID3 in front of any other format."""
    from mutagen import apev2, id3, mp3

    if file is None or (family(file.tags) == "ID3Tags" and not isinstance(file, mp3.MP3)):
        return None
    with suppress(apev2.error, id3.error):  # there are none
        return apev2.APEv2(file.filename) if isinstance(file, mp3.MP3) else id3.ID3(file.filename, load_v1=False)
    return None


def as_text(value: Any) -> str:
    """Convert a value of an MP4 tag to text; track 3 of 9 becomes 3/9."""
    if isinstance(value, tuple):
        return "/".join(str(part) for part in value if part)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def write_texts(tags: Any, texts: TextTags) -> None:
    """Write text tags as ID3 or Vorbis comments, or to MP4 those that ffmpeg does not write."""
    from mutagen import id3

    kind = family(tags)
    if kind == "VComment":
        for name, values in texts.items():
            key = "".join(c for c in name if " " <= c <= "}" and c != "=")
            if key:
                tags[key] = values
    elif kind == "MP4Tags":
        keys = {name: key for key, name in MP4_NAMES.items() if key not in ("trkn", "disk", "tmpo")}  # texts
        for name, values in texts.items():
            if name in keys:
                tags.setdefault(keys[name], values)  # which ffmpeg has written, unless they are APE tags
            elif name not in MP4_NAMES.values():
                tags[f"----:com.apple.iTunes:{name}"] = [text.encode() for text in values]
    elif kind == "ID3Tags":
        frames = {name: getattr(id3, frame) for frame, name in ID3.items()}
        for name, values in texts.items():
            if name == "comment":
                tags.setall("COMM", [id3.COMM(encoding=3, lang="eng", desc="", text=values)])
            elif name == "lyrics":
                tags.setall("USLT", [id3.USLT(encoding=3, lang="eng", desc="", text="\n".join(values))])
            else:
                frame = frames.get(name) or partial(id3.TXXX, desc=name)
                tags.add(frame(encoding=3, text=values))


def copy_all(before: Any, after: Any, chapters: bool) -> None:
    """Copy all tags between files of one tag format, with or without those that refer to times."""
    kind = family(before.tags)
    if kind == "ID3Tags":
        after.tags.clear()
        for key, frame in before.tags.items():
            if (chapters or frame.FrameID not in CHAPTER_FRAMES) and not GAPLESS.fullmatch(key):
                after.tags.add(frame)
    elif kind == "VComment":
        same = type(before) is type(after)
        for key in dict.fromkeys(key.lower() for key, _ in before.tags):  # in their order
            if key not in ("encoder", PICTURES) and (key != MASK or same) and (chapters or not is_chapter(key)):
                after.tags[key] = before.tags[key]
        if same and hasattr(before, "metadata_blocks"):  # FLAC's application blocks and cue sheet
            rate = chapters and before.info.sample_rate == after.info.sample_rate
            after.metadata_blocks += [b for b in before.metadata_blocks if b.code == 2 or (b.code == 5 and rate)]
    elif kind:
        for key, value in before.tags.items():
            if not key.startswith("\0") and not GAPLESS.fullmatch(key):  # names that are numbers have a table elsewhere
                after.tags[key] = value


def read_covers(file: Any) -> Iterator[Any]:
    """Yield the pictures of a file as mutagen.flac.Picture."""
    from mutagen.flac import Picture
    from mutagen.mp4 import MP4Cover

    def picture(content: bytes, mime: str, kind: int = 3, description: str = "") -> Picture:  # 3: front cover
        made = Picture()
        made.data, made.mime, made.type, made.desc = content, mime, kind, description
        return made

    tags, kind = file.tags, family(file.tags)
    yield from getattr(file, "pictures", ())
    if kind == "VComment" and PICTURES in tags:
        yield from (Picture(base64.b64decode(text)) for text in tags[PICTURES])
    elif kind == "ID3Tags":
        yield from (picture(frame.data, frame.mime, int(frame.type), frame.desc) for frame in tags.getall("APIC"))
    elif kind == "MP4Tags":
        for cover in tags.get("covr", ()):
            yield picture(bytes(cover), "image/png" if cover.imageformat == MP4Cover.FORMAT_PNG else "image/jpeg")


def write_covers(file: Any, covers: list[Any]) -> bool:
    """Replace the pictures of a file; False if it cannot contain all of them."""
    from mutagen.id3 import APIC
    from mutagen.mp4 import MP4Cover

    kind = family(file.tags)
    if hasattr(file, "clear_pictures"):
        file.clear_pictures()
        for cover in covers:
            file.add_picture(cover)
    elif kind == "VComment" and covers:
        file.tags[PICTURES] = [base64.b64encode(cover.write()).decode() for cover in covers]
    elif kind == "ID3Tags" and covers:
        file.tags.delall("APIC")
        for c in covers:
            file.tags.add(APIC(encoding=3, mime=c.mime, type=c.type, desc=c.desc, data=c.data))
    elif kind == "MP4Tags" and covers:
        formats = {"image/png": MP4Cover.FORMAT_PNG, "image/jpeg": MP4Cover.FORMAT_JPEG}
        supported = [MP4Cover(c.data, formats[c.mime]) for c in covers if c.mime in formats]
        file.tags["covr"] = supported
        return len(supported) == len(covers)
    return kind not in ("APEv2", "ASFTags") or not covers
