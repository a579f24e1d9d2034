"""The mountain: planes, surfaces, minima, basins, and what momentum does there."""
