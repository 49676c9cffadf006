"""Benchmarks: contestants run in turns in one process, and compared as ratios.

python -m engine.benchmark blocks
python -m engine.benchmark loader -d DATA
"""
