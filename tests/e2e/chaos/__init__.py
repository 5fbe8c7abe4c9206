"""Two processes of an operator, of which one leads, on a real API server, behind a proxy that fails requests."""
