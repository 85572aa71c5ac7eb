"""Models of sequences of codes, as the programs train, sample and evaluate them."""
