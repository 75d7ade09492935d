"""What runs on each node."""

from fedflux.flower import client_app

from .data import load_data

app = client_app(load_data)
