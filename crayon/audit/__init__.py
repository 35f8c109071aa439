"""What numbers rest on: does the chain hold, what made this number, what does this answer reach, what changed."""
