"""The records of a training run: its folder, checkpoints, log, series and TensorBoard events."""
