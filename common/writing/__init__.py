"""Write files: where links lead, names that nobody can guess, locks, the cache."""
