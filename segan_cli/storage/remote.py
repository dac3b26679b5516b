"""Files in object stores and on other servers, named by URLs such as s3://bucket/talk.wav, through fsspec."""

import glob
import posixpath
import re
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, cast
from urllib.parse import unquote

from segan_cli.errors import AudioError, OutputError, SeganError
from segan_cli.storage.remote_errors import explained, is_missing, retried
from segan_cli.system import require_extra

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least, as C:// is a path of Windows
ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}  # other names of the same file system
WHOLE = {"s3", "gs", "az", "adl", "oss", "memory"}  # an object appears when it is complete
READ_ONLY = {"http", "https"}
RESERVED = re.compile(r"^\.\.$|\0")  # parts of a name that are no file or folder of this name
WINDOWS_RESERVED = re.compile(
    r"""[\0-\x1f<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[\d¹²³]) *(\.|$)""", re.IGNORECASE
)
S3_TRIES = 2  # by s3fs, of a call that botocore tries five times each
SILENT_S = 30.0  # time limit for an answer of a web server


class RemotePath:
    """A file or folder by URL, with the methods of Path that planning needs; millions are made in seconds."""

    __slots__ = ("url",)

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        scheme = ALIASES.get(scheme.lower(), scheme.lower())
        self.url = f"{scheme}://{(rest.lstrip('/') if scheme in WHOLE else rest).rstrip('/')}"

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"RemotePath({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.url == other.url

    def __lt__(self, other: "RemotePath") -> bool:
        return self.url < other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __truediv__(self, name: str | PurePath) -> "RemotePath":
        separator = "" if self.url.endswith("://") else "/"
        return RemotePath(f"{self.url}{separator}{name if isinstance(name, str) else name.as_posix()}")

    @property
    def scheme(self) -> str:
        """The part before ://."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part, for the web without a query."""
        path = self.url.partition("://")[2]
        if self.scheme in READ_ONLY:
            path = re.split(r"[?#]", path, maxsplit=1)[0]
        return path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The extension, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The last part without its extension."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder; that of a bucket is the root."""
        scheme, _, path = self.url.partition("://")
        return RemotePath(f"{scheme}://{path.rpartition('/')[0]}")

    def with_name(self, name: str) -> "RemotePath":
        """Replace the last part."""
        return self.parent / name

    def with_stem(self, stem: str) -> "RemotePath":
        """Replace the last part, but not its extension."""
        return self.with_name(stem + self.suffix)

    def relative_to(self, folder: "RemotePath") -> PurePosixPath:
        """Return the path relative to a folder above it."""
        return PurePosixPath(self.url.removeprefix(f"{folder.url}/"))

    def resolve(self) -> "RemotePath":
        """Return the same path, as a URL has no links."""
        return self

    def read_bytes(self) -> bytes:
        """Return the content of a file; raises AudioError when it cannot be read."""
        fs, name = _filesystem(cast(Path, self))
        with explained(self.url, "read", AudioError):
            return cast(bytes, retried(lambda: fs.cat_file(name)))

    def read_text(self, encoding: str, errors: str = "strict") -> str:
        """Return the text of a file; raises AudioError when it cannot be read."""
        return self.read_bytes().decode(encoding, errors)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return find_kind(cast(Path, self)) == "directory"

    def is_file(self) -> bool:
        """Whether it is a file."""
        return find_kind(cast(Path, self)) == "file"


def is_url(name: str) -> bool:
    """Whether a name is a URL."""
    return URL.match(name) is not None


def as_path(name: str) -> Path:
    """Return the path for a file name, or a RemotePath for a URL; raises SeganError if it cannot be used."""
    if not is_url(name):
        path = Path(name)
        return path.absolute() if str(path) == "-" != name else path  # ./- is a file, - standard input or output
    scheme, _, rest = name.partition("://")
    remote = RemotePath(name)
    if scheme.lower() == "file" or _is_local(remote.scheme):
        local = unquote(rest.removeprefix("localhost"))
        if not local.startswith("/") or "\0" in local:
            raise SeganError(f"{name}: is not an absolute path; write {scheme}:///folder/name")
        return Path(local)
    if not rest.strip("/"):
        raise SeganError(f"{name}: names no file or folder")
    return cast(Path, remote)


@cache
def _is_local(scheme: str) -> bool:
    """Whether URLs of a scheme name local files; raises SeganError when there is no file system for them."""
    require_extra("cloud", f"{scheme}://")
    from fsspec import get_filesystem_class
    from fsspec.implementations.local import LocalFileSystem

    with explained(f"{scheme}://", "used", SeganError):
        return issubclass(get_filesystem_class(scheme), LocalFileSystem)


def join(folder: Path, name: PurePath) -> Path:
    """Return the path in a folder of a name from a list; raises AudioError if it does not stay in the folder."""
    parts = [part for part in name.as_posix().split("/") if part not in ("", ".")]
    decoded = unquote("/".join(parts)).split("/") if is_remote(folder) else ()  # as a server may have it
    reserved = WINDOWS_RESERVED if isinstance(folder, PureWindowsPath) else RESERVED
    if not parts or any(reserved.search(part) for part in (*parts, *decoded)):
        raise AudioError(f"{name}: cannot be written to {folder} with this name; rename it or enhance it with -o FILE")
    return folder / "/".join(parts)


def is_remote(path: Path) -> bool:
    """Whether a path is that of a URL."""
    return isinstance(path, RemotePath)


def find_folders(folder: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted; raises AudioError when it cannot be listed."""
    fs, root = _filesystem(folder)
    with explained(folder, "listed", AudioError):
        entries = retried(lambda: fs.ls(root, detail=True))
    names = sorted(
        str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"
    )
    return [folder / name for name in names]


def find_files(folder: Path, recursive: bool = True, hidden: bool = False) -> list[str]:
    """Return the names of the files below a folder, relative to it and sorted, by one listing; raises AudioError."""
    fs, root = _filesystem(folder)
    with explained(folder, "listed", AudioError):
        try:
            names = retried(lambda: fs.find(root, maxdepth=None if recursive else 1))
        except FileNotFoundError:
            return []
    prefix = f"{root.rstrip('/')}/"
    parts = [name.removeprefix(prefix).split("/") for name in names if name.startswith(prefix) and name != prefix]
    kept = (each for each in parts if hidden or not any(part.startswith(".") for part in each))
    return ["/".join(each) for each in sorted(kept)]  # as local paths are sorted


def find_matches(pattern: Path) -> dict[Path, str]:
    """Return the files and folders that match a glob, without hidden ones, and their kind; raises AudioError."""
    folder = pattern
    while glob.has_magic(str(folder)):
        folder = folder.parent
    (fs, names), (_, root) = _filesystem(pattern), _filesystem(folder)
    with explained(pattern, "listed", AudioError):
        found = dict(sorted(retried(lambda: fs.glob(names, detail=True)).items()))
    return {
        folder / name.removeprefix(root).strip("/"): str(entry["type"])
        for name, entry in found.items()
        if not PurePosixPath(name).name.startswith(".")
    }


def find_kind(path: Path) -> str | None:
    """Return "file" or "directory", None if there is neither; raises AudioError when that cannot be found out."""
    fs, name = _filesystem(path)
    with explained(path, "read", AudioError):
        try:
            return str(retried(lambda: fs.info(name))["type"])
        except FileNotFoundError as error:
            if not is_missing(error):
                raise
            return None


def download(path: Path, local: Path) -> None:
    """Copy a file to a local one; raises AudioError."""
    fs, name = _filesystem(path)
    with explained(path, "read", AudioError):
        retried(lambda: fs.get_file(name, str(local)))


def upload(local: Path, path: Path) -> None:
    """Copy a local file to a remote one, which appears when it is complete; raises OutputError.

    Where files are seen while they are written, it gets its name at the end.
    """
    fs, name = _filesystem(path)
    scheme = str(path).partition("://")[0]
    with explained(path, "written", OutputError):
        if scheme in WHOLE:
            retried(lambda: fs.put_file(str(local), name, **({"overwrite": True} if scheme == "az" else {})))
            return
        folder = posixpath.dirname(name)
        temporary = f"{folder}/.{secrets.token_hex(8)}.part"
        fs.makedirs(folder, exist_ok=True)
        try:
            retried(lambda: fs.put_file(str(local), temporary))
            fs.mv(temporary, name)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(temporary)
            raise


def check_writable_scheme(path: Path) -> None:
    """Raise OutputError for a URL that can only be read."""
    if isinstance(path, RemotePath) and path.scheme in READ_ONLY:
        raise OutputError(f"{path}: is read-only; write to a file or another server")


def _filesystem(path: Path) -> tuple[Any, str]:
    """Return the fsspec file system of a path and its name there."""
    from fsspec.core import url_to_fs

    if "::" in str(path):
        raise SeganError(
            f"{path}: contains ::, which would join it to another file; rename it, or extract it from its archive"
        )
    with explained(path, "used", SeganError):
        options = {}
        if str(path).startswith(("http:", "https:")):  # whose default limits a download to five minutes in total
            from aiohttp import ClientTimeout

            options = {"timeout": ClientTimeout(total=None, sock_connect=SILENT_S, sock_read=SILENT_S)}
        fs, name = url_to_fs(str(path), use_listings_cache=False, **options)
    if str(path).startswith("s3:"):
        fs.retries = S3_TRIES
    return fs, name
