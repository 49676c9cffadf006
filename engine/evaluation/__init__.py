"""From the predictions of a whole split to scores, and to files for test servers."""
