"""The papers' tables and figures, and the demo: everything that runs the other rooms one after the other."""
