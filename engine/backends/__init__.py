"""What computes a network's maps: NNabla itself, or a runtime that its ONNX export runs in."""
