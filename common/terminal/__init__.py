"""What a user sees: streams, printable text, progress bars, tables, short forms of values."""
