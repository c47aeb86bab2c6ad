"""What is scored: one file per objective; `+`, `-` and `*` by a number combine them."""
