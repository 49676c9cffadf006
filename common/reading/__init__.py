"""Read files that others made: texts, YAML, JSON and HDF5 of unknown origin."""
