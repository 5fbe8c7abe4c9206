"""What a Python program could follow pods with instead: the same pods of one real API server, each in a process."""
