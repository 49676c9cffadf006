"""What a training leaves behind: its folder, its states, its log and the series of its numbers."""
