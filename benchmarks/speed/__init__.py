"""One benchmark per file: `rows(setting)` yields what it measured, as frame.Row and frame.Curve."""
