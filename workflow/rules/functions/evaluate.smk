"""Inputs of the rules that evaluate."""


def unit_receipts(wildcards):
    pair = planned_pair(wildcards)
    scans = {"fixed": prepared(pair.fixed), "moving": prepared(pair.moving)}
    labels = {"fixed_labels": labels_of(pair.fixed), "moving_labels": labels_of(pair.moving)}
    found = {"registration": REGISTRATION.format(**wildcards), "pair": PAIR.format(**wildcards)}
    return {**found, **scans, **labels, "label_table": label_tables(wildcards)}


def label_tables(wildcards):
    """Return the table of structures to evaluate, in a list that may be empty."""
    table = STUDY.experiment(wildcards.experiment).labels
    return [str(table)] if table else []


def unit_metrics(wildcards):
    return [METRICS.format(**unit) for unit in UNITS]
