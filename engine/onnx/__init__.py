"""NNabla graphs as ONNX models."""
