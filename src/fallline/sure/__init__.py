"""How sure: what the rows say of the weights, and how far a prediction may be off."""
