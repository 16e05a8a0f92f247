"""The synthetic street: drawn people with known attributes, seen by several cameras and described by narrators.

It is free of privacy questions, needs no download, and knows what no real data set knows: which pixels are the coat,
which words are about it, and what an all-knowing reader of the words could reach.
"""
