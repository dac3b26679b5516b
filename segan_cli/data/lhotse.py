"""Recordings and cuts of Lhotse as flat rows of a manifest."""

from typing import Any


def flatten(values: dict[str, Any]) -> dict[str, Any]:
    """Columns of a Lhotse recording or cut; any other object as it is. Raises ValueError if it is not supported."""
    kind = str(values.get("type", ""))
    if kind.endswith("Cut") and kind != "MonoCut":
        raise ValueError(f"a {kind} of Lhotse; only MonoCut is supported")
    recording = values.get("recording", values)
    sources = recording.get("sources") if isinstance(recording, dict) else None
    if not isinstance(sources, list):
        return values
    source = sources[0] if len(sources) == 1 and isinstance(sources[0], dict) else {}
    if source.get("type") != "file" or source.get("channels", [0]) != [0] or recording.get("transforms"):
        raise ValueError("a recording of Lhotse that is not one file of one channel without transforms")
    supervisions = values.get("supervisions")
    parts = [part for part in supervisions if isinstance(part, dict)] if isinstance(supervisions, list) else []
    speakers = {str(part["speaker"]) for part in parts if part.get("speaker")}
    row = {"path": source.get("source"), "start": values.get("start"), "duration": values.get("duration")}
    return row | ({"speaker": speakers.pop()} if len(speakers) == 1 else {})
