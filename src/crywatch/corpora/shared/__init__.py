"""What loaders of several corpora share: their protocol, tables of publishers, rows, the ledger."""
