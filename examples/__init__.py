"""Small businesses on the same engine, each an app of its own: read one before you write yours."""
