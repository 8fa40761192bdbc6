"""Sound as arrays [samples] of float32 in -1..1, 16 kHz unless a name says otherwise.

``decode`` is the one reader of a user's recordings: ``container`` opens a file and chooses its
track, ``frames`` decodes what decodes, ``placement`` puts it where its time stamps say, ``downmix``
makes one channel, ``headers`` knows what a file promises, ``condition`` what is to be said of it.
``encoding`` is the one writer of compressed sound, ``cleaned`` reads and writes cleaned clips.
``segments`` has the plain second and the rates; ``resampling`` and ``levels`` are what they say.
``mel`` are mel filters, ``envelope`` a spectral envelope, ``activity`` and ``extents`` find where
something sounds. ``joints`` joins waves by crossfades, ``mixer`` renders soundscapes, ``rooms`` are
impulse responses, ``channels`` what a recording device and a telephone do to sound.
"""
