"""The intermediate representation: types, ops, the graph and its text form."""
