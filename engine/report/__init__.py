"""A page and a picture of a run: python -m engine.report runs/D3Net_L"""
