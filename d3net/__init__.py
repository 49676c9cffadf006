"""D3Net, the densely connected multidilated DenseNet."""
