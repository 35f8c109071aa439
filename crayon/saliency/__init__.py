"""What the Original looks at: maps, patches of neurons, and the views that annotators see."""
