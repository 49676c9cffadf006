"""What a network costs: multiply-accumulates, parameters, memory of activations, receptive field.

    measured = complexity.measure(models.create('ddrnet23_slim'), (1024, 2048))
    measured.gmacs, measured.parameters, measured.peak_bytes

``python -m models.complexity`` prints the same, and docs/complexity.md has it for many networks.
"""

from models.complexity.counts import count, measure, nearest_size, outline

__all__ = ['count', 'measure', 'nearest_size', 'outline']
