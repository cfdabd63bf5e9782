"""The compiler's intermediate representation: values, nodes, the graph, its reference semantics."""
