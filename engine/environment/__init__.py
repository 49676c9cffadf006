"""Report the capabilities of this machine and installation (python -m engine.environment)."""
