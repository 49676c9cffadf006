"""Encoders, which compute the feature maps for the decoders of a family from an image.

Each architecture has its own module, with its variants in a table of arguments. Parameter names and
initial values are those of the module's own reference; this is why CSAIL's ResNets and DABNet's
ResNet-18 v1c are separate. No encoder has a classifier. ``residual`` holds the block of two 3x3
convolutions of ResNet-18 v1c and DDRNet.
"""
