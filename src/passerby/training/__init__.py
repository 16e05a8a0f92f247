"""Training: recipes, one loop for every method, and tasks that say what one step means."""
