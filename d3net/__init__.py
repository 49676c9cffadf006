"""D3Net and the layers that every network of this project is made of."""
