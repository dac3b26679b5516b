"""Audio in and out: files, streams of bytes, rates, emphasis; all policy on rate, channels and formats lives here."""
