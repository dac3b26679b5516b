"""Backends that run a generator: ONNX Runtime, which starts fast, and torch."""
