"""The contenders other than FedFlux, each a process that answers requests (see
protocol.py).
"""
