"""Arrays in, a fitted network out: scaling, division, width, starts, combination, settings."""
