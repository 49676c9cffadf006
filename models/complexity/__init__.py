"""Cost of a network: multiply-accumulates, parameters, activation memory, receptive field.

    measured = complexity.measure_network(models.create('ddrnet23_slim'), (1024, 2048))
    measured.gmacs, measured.parameters, measured.peak_bytes

``python -m models.complexity`` prints these numbers; docs/complexity.md lists them for many
networks.
"""

from models.complexity.counts import (
    count_macs_and_parameters,
    measure_network,
    nearest_size,
    shape_graph,
)

__all__ = ['count_macs_and_parameters', 'measure_network', 'nearest_size', 'shape_graph']
