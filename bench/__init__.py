"""Benchmarks: the loader beside other ways to bring the same rows into the same server. See bench/README.md."""
