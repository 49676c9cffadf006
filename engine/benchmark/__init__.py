"""Benchmarks: contestants run in turns, and are compared as ratios.

python -m engine.benchmark blocks
python -m engine.benchmark inference --peer pytorch
python -m engine.benchmark loader -d DATA
python -m engine.benchmark training
"""
