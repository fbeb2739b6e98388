"""Load clients, photos and server processes for the benchmarks."""
