"""Reading and writing other containers and video with the program ffmpeg."""
