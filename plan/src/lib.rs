//! Pure functions from the model to what each host must know, to rows, to the least set of changes.
