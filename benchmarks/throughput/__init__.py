"""Benchmarks of throughput, latency and start-up."""
