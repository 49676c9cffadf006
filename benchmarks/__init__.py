"""Benchmarks: contestants run in turns, and are compared as ratios.

python -m benchmarks blocks
python -m benchmarks inference --peer pytorch
python -m benchmarks loader -d DATA
python -m benchmarks training
"""
