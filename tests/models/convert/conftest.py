"""Fixtures of the tests of conversions."""

from support.conversions import few_networks

__all__ = ['few_networks']
