"""Layers of all networks as parametric functions, and facts about graphs made of them."""
