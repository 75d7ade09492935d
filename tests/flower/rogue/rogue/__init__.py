"""Apps for the tests of a deployment."""
