"""Benchmarks of fedflux against its peers; `python -m benchmarks --help` tells how to run
them.
"""
