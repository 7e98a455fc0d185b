"""The checks: each is a function from facts to findings, and knows nothing of how the facts were found."""
