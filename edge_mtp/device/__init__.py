"""What phones logged, read and judged; and the plan that they run."""
