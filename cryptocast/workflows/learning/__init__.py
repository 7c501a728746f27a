"""What training and judging share: material, training, search, scoring, versions, deployment."""
