"""The threats S1 to S29, each as a table of inputs and the answers they must get."""
