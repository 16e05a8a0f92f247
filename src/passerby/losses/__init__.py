"""One loss a file: a pure function on tensors first, a thin class only where there is state."""
