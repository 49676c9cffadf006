"""Split the images of a user's own data into lists for training, validation and test."""
