"""The web page of an agent, in a real browser."""
