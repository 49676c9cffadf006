"""Benchmarks whose contestants take turns and are compared as ratios of their times.

Every command takes --help; `make bench` runs those behind the tables of docs/backends.md:

python -m benchmarks blocks
python -m benchmarks inference --peer pytorch
python -m benchmarks loader -d DATA
python -m benchmarks norms
python -m benchmarks panorama
python -m benchmarks training
"""
