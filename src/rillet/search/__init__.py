"""Search for networks that fit a budget: spaces, budgets, the funnel, trainings by successive halving, the answer."""
