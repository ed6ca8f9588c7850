"""The parts of the report: findings, charts as inline SVG, and the page."""
