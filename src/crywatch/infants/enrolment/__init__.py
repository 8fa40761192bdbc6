"""The user's side of stage 2: recordings of an infant come in, answers go out.

``infants.Infants`` is its face (`crywatch infant` calls it). ``user_files`` says which files were
meant and when they were recorded, ``listening`` finds their cries and makes vectors of them,
``enrolment`` fits and scores, ``pages`` draws. What is kept lies in `crywatch.infants.store`.
"""
