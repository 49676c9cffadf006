"""Backends that compute a network's logits: NNabla itself, or a runtime for its ONNX export."""
