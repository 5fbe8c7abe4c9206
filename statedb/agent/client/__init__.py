"""Clients of an agent in another process: requests and replicas."""
