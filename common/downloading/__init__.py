"""Download files over HTTP, resume what was interrupted, and verify it."""
