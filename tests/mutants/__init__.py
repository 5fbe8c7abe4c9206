"""Mutation testing of the store's core: small changes of the code, one at a time, that some test must notice.

``make mutants`` writes docs/mutants.md. Two steps for each mutant: the fast tests that run the changed line, and for
those that live on, the slow ones (the model, exceptions at every line).
"""
