"""Functions that the rules name: recipes (everything that decides an output), input files, resources.

:func:`evenface.recipes.flow.open_flow` reads a configuration and returns a ``Flow``. It has one object per stage. Their
methods take Snakemake's wildcards (any object with the attributes), and the rules name them:
``input: files=FLOW.generation.inputs``.
"""
