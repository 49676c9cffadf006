"""Helpers that several test modules share, and programs that tests start."""
