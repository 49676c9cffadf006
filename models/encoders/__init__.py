"""Encoders: what turns an image into the feature maps that the decoders of a family take.

There is a module for each kind, with its variants as a table of arguments. Each has the parameter
names and the initial values of its own reference, so that CSAIL's ResNets and DABNet's ResNet-18
v1c stand apart; none has a classifier. ``residual`` is the block of two 3x3 convolutions that
ResNet-18 v1c and DDRNet are made of.
"""
