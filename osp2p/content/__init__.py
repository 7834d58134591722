"""What files are here, on disk: safe names, digests, chunks, and the temporary file that a download is written to."""
