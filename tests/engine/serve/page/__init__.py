"""Tests of the page, which share one server and one browser."""
