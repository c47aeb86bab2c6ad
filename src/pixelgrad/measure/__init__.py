"""Measure how far an attribution map can be trusted."""
