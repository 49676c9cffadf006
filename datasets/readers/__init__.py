"""Readers: one module a data set, which owns its classes, colours, files and splits."""
