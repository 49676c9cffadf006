"""The configs of the project as a table: networks, costs, published scores and weights."""
