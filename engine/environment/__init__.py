"""What this machine and this installation can do: python -m engine.environment"""
