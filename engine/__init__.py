"""What runs networks: configs, contexts, prediction, pictures, benchmarks."""
