"""Layers: one file each. A layer lowers to the Maps of its passes."""
