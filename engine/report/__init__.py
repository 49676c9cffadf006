"""Summarise a training run as a page and a picture (python -m engine.report runs/D3Net_L)."""
