"""What the analyses of quality.analyze share."""
