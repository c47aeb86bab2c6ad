"""Look at the gradient: which pixels matter."""
