"""Are locks and claims linearizable: the search, the models, the recorder of histories, brokers broken on purpose."""
