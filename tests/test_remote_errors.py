"""Web servers that refuse, are busy or lose the connection: named, and asked again where that may help."""

import io
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import soundfile
from conftest import voice

pytest.importorskip("fsspec", reason="needs fsspec")
pytest.importorskip("aiohttp", reason="needs aiohttp")

import aiohttp

from segan_cli.audio.sources import open_file
from segan_cli.errors import AudioError, OutputError
from segan_cli.storage import remote, remote_errors
from segan_cli.storage.remote import as_path, find_kind, upload

LONG_S = 30.0


@pytest.fixture
def waits(monkeypatch):
    """The waits before repeated calls, which take no time."""
    waited = []
    monkeypatch.setattr(remote_errors.time, "sleep", waited.append)
    return waited


@contextmanager
def server(*answers, format="WAV", **headers):
    """A web server with one recording: its first answers are these statuses, or what is said below.

    0: the connection is lost, at once; -1: in the middle; -2: after a long silence. It sends wrong ranges.
    """
    file, left, seen, end = io.BytesIO(), list(answers), [], threading.Event()
    soundfile.write(file, voice(0.2), 16_000, format=format)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.command)
            status = left.pop(0) if left else 206 if "Range" in self.headers else 200
            if status in (0, -2):
                self.close_connection = end.wait(0 if status == 0 else LONG_S) or True
                return
            content = {200: file.getvalue(), 206: file.getvalue()[:99], -1: file.getvalue()}.get(status, b"")
            self.send_response(max(status, 200))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[: len(content) // 2 if status == -1 else None])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        try:
            yield as_path(f"http://127.0.0.1:{web.server_port}/a.wav"), seen
        finally:
            end.set()
            web.shutdown()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "access denied, credentials are needed: HTTP status 401"),
        (403, "access denied: HTTP status 403"),
        (418, "refused: HTTP status 418"),
        (429, "too many requests, try again later: HTTP status 429"),
        (500, "the server failed, try again later: HTTP status 500"),
        (503, "the server failed, try again later: HTTP status 503"),
        (0, "Server disconnected"),
    ],
)
def test_the_http_status_is_reported(status, says, waits):
    with server(*[status] * 20) as (url, seen), pytest.raises(AudioError) as caught:
        find_kind(url)
    assert str(caught.value) == f"{url}: cannot be read ({says})"
    passing = status in (0, 429, 500, 503)
    assert waits == ([0.5, 1.0, 2.0] if passing else [])
    if status:  # aiohttp repeats a lost request itself
        assert len(seen) == (8 if passing else 2)  # HEAD and GET each time


@pytest.mark.parametrize("status", [404, 410])
def test_http_404_and_410_are_missing_files(status, waits):
    with server(status, status) as (url, _):
        assert find_kind(url) is None
    assert waits == []


@pytest.mark.parametrize(("status", "n"), [(0, 4), (-1, 2), (429, 2), (502, 2)])
def test_a_busy_server_is_retried(status, n, waits):
    with server(*[status] * n) as (url, _), open_file(url) as source:
        assert sum(block.shape[1] for block in source.blocks) == 3_200
    assert waits == [0.5, 1.0]


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3"])
def test_a_recording_is_downloaded_once_and_as_a_whole(format, waits):
    with server(format=format) as (url, seen), open_file(url) as source:
        assert sum(block.shape[1] for block in source.blocks) == 3_200
    assert seen == ["GET"]
    with server() as (url, seen):
        assert url.read_bytes()[:4] == b"RIFF"
    assert seen == ["GET"]


def test_a_lost_connection_is_not_called_a_short_recording(waits):
    with server(*[-1] * 4) as (url, _), pytest.raises(AudioError) as caught, open_file(url, allow_truncated=True):
        pass
    assert str(caught.value) == f"{url}: cannot be read (the connection was lost before the end)"
    assert waits == [0.5, 1.0, 2.0]


def test_a_web_server_may_be_slow_but_not_silent(waits, monkeypatch):
    monkeypatch.setattr(aiohttp.client, "DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=1e-6))
    monkeypatch.setattr(remote, "SILENT_S", LONG_S)
    with server() as (url, _), open_file(url) as source:
        assert sum(block.shape[1] for block in source.blocks) == 3_200
    monkeypatch.setattr(remote, "SILENT_S", 0.05)
    with server(*[-2] * 4) as (url, _), pytest.raises(AudioError, match="the server does not answer"), open_file(url):
        pass


def test_retry_after_of_the_server_is_respected(waits):
    with server(429, 429, Retry_After="7") as (url, _):
        assert find_kind(url) == "file"
    assert waits == [7.0]
    with server(429, 429, Retry_After="3600") as (url, _), pytest.raises(AudioError, match="too many requests"):
        find_kind(url)
    assert waits == [7.0]


def test_an_unreachable_server_is_not_called_a_missing_file(waits):
    with server() as (url, _):
        pass
    with pytest.raises(AudioError, match=r"cannot be read \(Cannot connect to host"):
        find_kind(url)
    assert waits == []


def test_the_status_of_an_object_store_is_reported_and_retried(tmp_path, monkeypatch, waits):
    """As s3fs raises them: an error of Python, caused by one of botocore."""
    import fsspec

    class ClientError(Exception):
        response = {"ResponseMetadata": {"HTTPStatusCode": 503}}  # noqa: RUF012

    def fail(*arguments, **options):
        raise OSError(16, "Please reduce your request rate.") from ClientError()

    (tmp_path / "a.wav").write_bytes(b"x")
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "put_file", fail)
    with pytest.raises(OutputError, match=r"cannot be written \(the server failed, try again later: HTTP status 503\)"):
        upload(tmp_path / "a.wav", as_path("memory://a.wav"))
    assert waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("name", ["ConnectTimeoutError", "ReadTimeoutError"])
def test_a_silent_object_store_is_named_and_not_asked_again(monkeypatch, waits, name):
    """As botocore raises it, after ten tries."""
    import fsspec

    def fail(*arguments, **options):
        raise type(name, (Exception,), {})('Read timeout on endpoint URL: "http://h/b/a.wav"')

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "info", fail)
    with pytest.raises(AudioError, match=r"memory://a\.wav: cannot be read \(the server does not answer\)"):
        find_kind(as_path("memory://a.wav"))
    assert waits == []


def test_an_upload_that_the_object_store_lost_is_retried(tmp_path, monkeypatch, waits):
    """As s3fs raises it when the end of a large upload failed."""
    import fsspec

    lost = type("NoSuchUpload", (Exception,), {"response": {"ResponseMetadata": {"HTTPStatusCode": 404}}})

    def fail(*arguments, **options):
        raise FileNotFoundError("The specified upload does not exist.") from lost()

    (tmp_path / "a.wav").write_bytes(b"x")
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "put_file", fail)
    with pytest.raises(OutputError, match=r"a\.wav: cannot be written \(the server lost the upload\)"):
        upload(tmp_path / "a.wav", as_path("memory://a.wav"))
    assert waits == [0.5, 1.0, 2.0]
