"""What runs a generator: torch, or ONNX Runtime, which starts in a fraction of the time."""
