"""What several tests share, and programs that tests start."""
