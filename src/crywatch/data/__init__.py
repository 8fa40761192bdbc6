"""Tables of clips and what makes them, between the publishers' folders and the models.

Stages: ``clean``, ``split``, ``mixtures``. ``tables`` are all
schemas. ``selection`` gives the labelled clips of a part, ``sources`` the corpora that a model
was trained on, ``truth`` the label of each plain second, ``features`` the stores of numbers per
second, ``counts`` clips and seconds by label,
``check`` what `crywatch data check` prints.
"""
