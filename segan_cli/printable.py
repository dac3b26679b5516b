"""Untrusted text (names, metadata, table cells): escaped for terminals and files, and compared."""

import unicodedata


def printable(text: str) -> str:
    """Escape control characters, line ends, direction marks and undecodable bytes.

    A byte that is not UTF-8 becomes `\\xe9`, a character `\\u202e`.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(ord(character)) for character in text)


def one_line(text: str, longest: int = 1_000) -> str:
    """Return a message as one printable line of limited length."""
    line = printable(" ".join(part.strip() for part in text.splitlines()))
    return line if len(line) <= longest else f"{line[:longest]} …"


def composed(text: str) -> str:
    """Return a name in the form in which equal names are equal: macOS writes ü as u and a diaeresis."""
    return unicodedata.normalize("NFC", text)


def utf8(text: str) -> str:
    """Escape undecodable bytes as `\\xe9`, so that the text can be encoded as UTF-8."""
    return "".join(_escape(ord(one)) if "\ud800" <= one <= "\udfff" else one for one in text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode has it
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
