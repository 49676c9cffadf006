"""Describe a user's own data in ``dataset.yaml``: its folders, and the classes that masks show."""
