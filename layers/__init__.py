"""What every network is made of: layers as parametric functions, in the form that a build asks for,
and what a graph of them costs.
"""
