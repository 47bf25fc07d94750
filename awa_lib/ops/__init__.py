"""Writes: one module per noun, every public function an op."""
