"""The models of an infant's normal, and the comparison with a cohort.

``contract`` says what a model is (`InfantModel`, `Baseline`); ``registry`` builds one by its name;
``cohort`` normalises the scores of another one. Nothing is imported here, so that a stage depends
on the models it uses and on no other.
"""
