"""Networks as files for other runtimes: ONNX, NNabla's NNP, and NNB for its C runtime.

    from engine.export.spec import ExportSpec
    from engine.export.exporter import export

    network = models.create('ddrnet23_slim')
    ...                                     # its parameters are registered and loaded
    export(network, (512, 1024), 'network.onnx', ExportSpec('labels', pixels='uint8'))

``python -m engine.export --help`` lists what the command line can do.
"""
