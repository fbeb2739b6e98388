"""Benchmarks of decoding time and memory."""
