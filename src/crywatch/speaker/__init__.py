"""Embeddings that tell infants apart: ECAPA-TDNN, its losses, batches and verification."""
