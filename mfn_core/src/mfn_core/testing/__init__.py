"""Conformance suites that authors of plugins run, and a real server process for tests.

Each suite is a class of pytest tests in a module of its own: subclass it in a test file and give the fixtures and
attributes that its docstring names. They need the extra `mfn-core[testing]`.
"""
