"""The loop: a descent over rows, the path it leaves and the words it ends in."""
