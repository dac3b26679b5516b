"""The program ffmpeg: where it is, and the options and environment of every run."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from segan_cli.errors import AudioError
from segan_cli.extras import install_command

FORMATS = (  # demuxers of single files: no playlists, scripts, devices or networks
    "aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,asf_o,ast,au,avi,caf,dsf,dts,dtshd,dv,eac3,flac,flv,g722,gsm,iff,"
    "loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,qcp,rm,rso,sbc,shn,sol,sox,spdif,"
    "tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,xwma"
)
FILES_ONLY = ("-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS)  # for every input of a user
PLAYLIST = re.compile(
    rb"\s*(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat version|\[playlist\]|v=0\r?\n|<(\?xml[^>]*>\s*<)?(MPD|smil|asx)\b)",
    re.IGNORECASE,
)


def program(path: Path) -> str:
    """Find ffmpeg; raises AudioError, naming the file that needs it, if it is not installed."""
    found = find_ffmpeg()
    if found is None:
        raise AudioError(f"{path}: this format needs ffmpeg; install it, or run: {install_command('ffmpeg')}")
    return found


def find_ffmpeg() -> str | None:
    """Return the ffmpeg on the PATH, or that of the package imageio-ffmpeg; None if there is neither."""
    found = shutil.which("ffmpeg")
    if found is None and find_spec("imageio_ffmpeg") is not None:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    return found


def environment() -> dict[str, str]:
    """Return an environment in which ffmpeg's log has no colours."""
    return {**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"}


def run(path: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run ffmpeg to its end for the sake of a file."""
    command = [program(path), "-nostdin", "-hide_banner", *options]
    return subprocess.run(command, capture_output=True, check=False, env=environment())


def file_input(path: Path) -> tuple[str, ...]:
    """Return the options that make a file of a user an input."""
    return *FILES_ONLY, "-i", f"file:{path}"


def is_playlist(path: Path) -> bool:
    """Whether a file is a playlist, which only names other files."""
    with path.open("rb") as file:
        return PLAYLIST.match(file.read(1024)) is not None
