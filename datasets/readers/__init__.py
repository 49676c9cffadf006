"""Readers: one module per data set, with its classes, colours, files and splits."""
