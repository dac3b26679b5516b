"""Names of tags in other formats, and in Vorbis comments."""

ID3 = {
    "TIT2": "title", "TPE1": "artist", "TALB": "album", "TPE2": "albumartist", "TDRC": "date", "TCON": "genre",
    "TCOM": "composer", "TRCK": "tracknumber", "TPOS": "discnumber", "TCOP": "copyright", "TPUB": "publisher",
    "TSRC": "isrc", "TLAN": "language", "TIT1": "grouping", "TIT3": "subtitle", "TPE3": "conductor", "TBPM": "bpm",
}  # fmt: skip
MP4_NAMES = {
    "©nam": "title", "©ART": "artist", "©alb": "album", "aART": "albumartist", "©day": "date", "©gen": "genre",
    "©wrt": "composer", "trkn": "tracknumber", "disk": "discnumber", "cprt": "copyright", "©cmt": "comment",
    "©lyr": "lyrics", "desc": "description", "©grp": "grouping", "tmpo": "bpm",
}  # fmt: skip
OTHER = {  # of APE and ASF
    "author": "artist", "year": "date", "track": "tracknumber", "disc": "discnumber", "album artist": "albumartist",
    "wm/albumtitle": "album", "wm/year": "date", "wm/albumartist": "albumartist", "wm/genre": "genre",
    "wm/composer": "composer", "wm/tracknumber": "tracknumber", "wm/publisher": "publisher", "description": "comment",
}  # fmt: skip
VIDEO_NAMES = {"album_artist": "albumartist", "track": "tracknumber", "disc": "discnumber"}  # of ffmpeg
