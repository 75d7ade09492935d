"""A federation of fedflux on Flower."""
