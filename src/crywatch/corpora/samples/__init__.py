"""Generated corpora: modules of their names, whose `write` fills a folder as the publisher would.

Found by name (`crywatch.corpora.generate.generate`); a new corpus needs no more than its module.
"""
