"""What the rules ask for: recipes (all that decides an output), input files, resources. The Snakefile's own functions.

:func:`evenface.recipes.flow.open_flow` reads a configuration; the ``Flow`` it gives has one object per stage, whose
methods take Snakemake's wildcards (any object with the attributes) and are named in the rules:
``input: files=FLOW.generation.inputs``.
"""
