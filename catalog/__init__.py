"""The tables that every deployment has: row, key and table of one kind on one screen."""
