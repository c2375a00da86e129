"""Publishing a video: files, which no transaction covers, made and deleted by a saga."""
