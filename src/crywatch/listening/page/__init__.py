"""`crywatch listen --page`: the sources now, the last nights, and what a person says of events.

``board`` is the sink that knows what is so now, ``app`` answers a browser, ``access`` decides who
may ask, ``server`` runs it beside the listener. What is shown of earlier is in
`crywatch.listening.history`.
"""
