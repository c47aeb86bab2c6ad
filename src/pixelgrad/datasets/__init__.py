"""Readers for published data sets: folders of pictures with labels, in their own layouts."""
