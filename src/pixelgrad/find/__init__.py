"""Techniques that look through a data set for what an objective is highest on."""
