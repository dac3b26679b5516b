"""Audio input and output: files, byte streams, rates and emphasis; all rules on rates, channels and formats are here."""
