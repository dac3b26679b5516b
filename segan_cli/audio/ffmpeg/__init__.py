"""Reading and writing other containers and video by the program ffmpeg."""
