"""Titles, covers and chapters from file to file, by mutagen."""

import base64
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segan_cli.errors import OutputError

Warn = Callable[[str], None]
Names = dict[str, list[str]]  # a tag by its name in Vorbis comments

ID3 = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "albumartist", "TDRC": "date", "TCON": "genre",
    "TCOM": "composer", "TRCK": "tracknumber", "TPOS": "discnumber", "TCOP": "copyright", "TPUB": "publisher",
    "TSRC": "isrc", "TLAN": "language", "TIT1": "grouping", "TIT3": "subtitle", "TPE3": "conductor", "TBPM": "bpm",
}  # fmt: skip
MP4 = {
    "©nam": "title", "©ART": "artist", "©alb": "album", "aART": "albumartist", "©day": "date", "©gen": "genre",
    "©wrt": "composer", "trkn": "tracknumber", "disk": "discnumber", "cprt": "copyright", "©cmt": "comment",
    "©lyr": "lyrics", "desc": "description", "©grp": "grouping", "tmpo": "bpm",
}  # fmt: skip
OTHER = {  # of APE and ASF
    "author": "artist", "year": "date", "track": "tracknumber", "wm/albumtitle": "album", "wm/year": "date",
    "wm/albumartist": "albumartist", "album artist": "albumartist", "wm/genre": "genre", "wm/composer": "composer",
    "wm/tracknumber": "tracknumber", "wm/publisher": "publisher", "description": "comment",
}  # fmt: skip
PICTURES = "metadata_block_picture"  # where Ogg files have them
MASK = "waveformatextensible_channel_mask"
ENCODERS = ("encoder", "encodersettings", "tsse")  # of the sound as it was


def copy_tags(source: Path, target: Path, warn: Warn) -> None:
    """Put tags, covers and, in files of one kind, chapters of `source` into `target`, which has its sound already.

    Says what the target has no place for. Raises OutputError when it cannot be written.
    """
    import mutagen
    from mutagen.mp4 import MP4Tags

    broken = (mutagen.MutagenError, ValueError, LookupError, TypeError, AttributeError, struct.error)
    try:
        before = mutagen.File(source)
        named, covers = ({}, []) if before is None else (read_names(before.tags), list(read_covers(before)))
    except broken as error:
        warn(f"its tags are left out, as they are damaged ({error})")
        return
    if before is None or not (named or covers or before.tags):
        return
    try:
        after = mutagen.File(target)
        if after is None:
            warn(f"tags beside title, artist and the like are left out, as {target.suffix} has no place for them")
            return
        if after.tags is None:
            after.add_tags()
        if family(before.tags) is family(after.tags):
            copy_all(before, after)
        else:
            write_names(after.tags, named)
            if chapters(before) and family(after.tags) is not MP4Tags:  # where ffmpeg has put them
                warn(f"chapters are left out, as {target.suffix} has no place for them")
        if not write_covers(after, covers):
            warn(f"its cover is left out, as {target.suffix} has no place for it")
        after.save(**({"v2_version": 3} if version_3(before.tags, after.tags) else {}))
    except broken as error:
        raise OutputError(f"{target}: its tags cannot be written ({error})") from error


def family(tags: Any) -> type | None:
    """How tags are stored, whatever the container."""
    from mutagen._vorbis import VComment
    from mutagen.apev2 import APEv2
    from mutagen.asf import ASFTags
    from mutagen.id3 import ID3Tags
    from mutagen.mp4 import MP4Tags

    return next((kind for kind in (ID3Tags, VComment, MP4Tags, APEv2, ASFTags) if isinstance(tags, kind)), None)


def version_3(before: Any, after: Any) -> bool:
    """Whether both are ID3, and the older of its versions is to stay."""
    return getattr(before, "version", ())[:2] == (2, 3) and hasattr(after, "update_to_v23")


def chapters(file: Any) -> bool:
    """Whether a file has chapters."""
    return bool(getattr(file, "chapters", None)) or any(str(key).startswith("CHAP") for key in file.tags or ())


def read_names(tags: Any) -> Names:
    """What tags of any kind say in words."""
    named: Names = {}
    kind = getattr(family(tags), "__name__", "")
    if kind == "ID3Tags":
        for frame in tags.values():
            name = ID3.get(frame.FrameID) or {"COMM": "comment", "USLT": "lyrics"}.get(frame.FrameID)
            name = name or (frame.desc if frame.FrameID == "TXXX" else frame.FrameID.lower())
            text = getattr(frame, "text", None)
            if text:
                named.setdefault(name, []).extend([text] if isinstance(text, str) else map(str, text))
    elif kind == "MP4Tags":
        for key, value in tags.items():
            name = key.split(":")[-1].lower() if key.startswith("----") else MP4.get(key)
            if name is not None:
                named[name] = [worded(one) for one in (value if isinstance(value, list) else [value])]
    else:
        for key in tags.keys() if tags else ():  # Vorbis comments give pairs
            value = tags[key]
            texts = [str(one) for one in (value if isinstance(value, list) else [value]) if len(str(one)) < 1 << 16]
            named[OTHER.get(key.lower(), key.lower())] = texts
    return {name: texts for name, texts in named.items() if name not in (*ENCODERS, PICTURES, MASK)}


def worded(value: Any) -> str:
    """A value of an MP4 tag as text; track 3 of 9 is 3/9."""
    if isinstance(value, tuple):
        return "/".join(str(part) for part in value if part)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def write_names(tags: Any, named: Names) -> None:
    """Put what tags say in words into ID3 or Vorbis comments, or what ffmpeg leaves out into MP4."""
    from mutagen import id3

    kind = getattr(family(tags), "__name__", "")
    if kind == "VComment":
        for name, texts in named.items():
            key = "".join(c for c in name if " " <= c <= "}" and c != "=")
            if key:
                tags[key] = texts
    elif kind == "MP4Tags":
        for name in named.keys() - set(MP4.values()):
            tags[f"----:com.apple.iTunes:{name}"] = [text.encode() for text in named[name]]
    elif kind == "ID3Tags":
        frames = {name: getattr(id3, frame) for frame, name in ID3.items()}
        for name, texts in named.items():
            if name == "comment":
                tags.setall("COMM", [id3.COMM(encoding=3, lang="eng", desc="", text=texts)])
            elif name == "lyrics":
                tags.setall("USLT", [id3.USLT(encoding=3, lang="eng", desc="", text="\n".join(texts))])
            elif name in frames:
                tags.add(frames[name](encoding=3, text=texts))
            else:
                tags.add(id3.TXXX(encoding=3, desc=name, text=texts))


def copy_all(before: Any, after: Any) -> None:
    """Copy tags of one kind, whatever they are."""
    kind = getattr(family(before.tags), "__name__", "")
    if kind == "ID3Tags":
        after.tags.clear()
        for frame in before.tags.values():
            after.tags.add(frame)
    elif kind == "VComment":
        same = type(before) is type(after)
        for key in {key.lower() for key, _ in before.tags} - {"encoder", PICTURES}:
            if key != MASK or same:
                after.tags[key] = before.tags[key]
        if same and hasattr(before, "metadata_blocks"):  # FLAC's cue sheet, and blocks of other programs
            rate = before.info.sample_rate == after.info.sample_rate
            after.metadata_blocks += [b for b in before.metadata_blocks if b.code == 2 or (b.code == 5 and rate)]
    elif kind:
        for key, value in before.tags.items():
            after.tags[key] = value


def read_covers(file: Any) -> Iterator[Any]:
    """Pictures in a file, each as FLAC has them."""
    from mutagen.flac import Picture
    from mutagen.mp4 import MP4Cover

    tags = file.tags
    kind = getattr(family(tags), "__name__", "")
    yield from getattr(file, "pictures", ())
    if kind == "VComment" and PICTURES in tags:
        yield from (Picture(base64.b64decode(text)) for text in tags[PICTURES])
    elif kind == "ID3Tags":
        for frame in tags.getall("APIC"):
            yield picture(frame.data, frame.mime, int(frame.type), frame.desc)
    elif kind == "MP4Tags":
        for cover in tags.get("covr", ()):
            yield picture(bytes(cover), "image/png" if cover.imageformat == MP4Cover.FORMAT_PNG else "image/jpeg")


def picture(content: bytes, mime: str, kind: int = 3, description: str = "") -> Any:
    """A picture as FLAC has them; kind 3 is the front cover."""
    from mutagen.flac import Picture

    made = Picture()
    made.data, made.mime, made.type, made.desc = content, mime, kind, description
    return made


def write_covers(file: Any, covers: list[Any]) -> bool:
    """Put pictures into a file in place of its own; false where it has no place for them and they are not there yet."""
    from mutagen.id3 import APIC
    from mutagen.mp4 import MP4Cover

    kind = getattr(family(file.tags), "__name__", "")
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
        known = [MP4Cover(c.data, formats[c.mime]) for c in covers if c.mime in formats]
        file.tags["covr"] = known
        return len(known) == len(covers)
    return kind not in ("APEv2", "ASFTags") or not covers
