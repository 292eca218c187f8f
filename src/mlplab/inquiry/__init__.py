"""Evidence: made, published, verified, audited, and asked whether it contradicts itself."""
