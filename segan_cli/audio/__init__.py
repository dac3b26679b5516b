"""Audio input and output: files, byte streams, rates and emphasis; with all rules on rates, channels and formats."""
