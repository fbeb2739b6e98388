"""Benchmarks of gallery selection and of the other applications."""
