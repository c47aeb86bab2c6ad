"""Follow the gradient: the pixels change, the weights stay."""
