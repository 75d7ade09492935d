"""What runs on the server."""

from fedflux.flower import server_app

from .data import load_test_data

app = server_app(load_test_data)  # server_app() if the server has no test data
