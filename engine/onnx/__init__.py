"""Export of NNabla graphs to ONNX."""
