"""½ Σ_j ( ŷ_j − y_j )² of one block of rows: the error, its gradient, its curvature. Where rows come from is not known here."""
