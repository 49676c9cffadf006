"""Kinds of damage: functions of random numbers, a content, and the contents of other files."""
