"""What holds for every backend, shown for all of them at once."""
