"""The web page of an agent: its static files, what it follows, and the history that it draws."""
