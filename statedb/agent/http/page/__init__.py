"""The web page of an agent: its static files, the stream that it follows, and the history that it draws."""
