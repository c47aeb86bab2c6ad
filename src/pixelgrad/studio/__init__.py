"""The studio: every technique in the browser, on a server of its own (extra `studio`)."""
