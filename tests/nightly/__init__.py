"""What only runs at night: what takes long, or needs much room."""
