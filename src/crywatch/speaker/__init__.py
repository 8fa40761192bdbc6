"""Embeddings that tell infants apart: the second half, up to a network that is verified.

Three stages, each with its ``run``: `cries` cuts recordings to cries (`cries.store.CryStore` reads
them), `train_speaker` trains an `ecapa.Ecapa` on `batches` by `losses`, and
`evaluate_verification` compares networks on `trials` by the error rates of `verification`.
`ecapa.from_model` and `batches.embed_cries` turn cries into unit vectors for infants' baselines.
"""
