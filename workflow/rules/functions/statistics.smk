"""What tables are made from, and what stands above them."""


def registrations(wildcards):
    return [REGISTRATION.format(**unit) for unit in UNITS]


def registration_logs(wildcards):
    return [logs("register", *unit.values()) for unit in UNITS]


def table_caption(sentence):
    """What a table shows, and of whom."""
    sides = (side for e in STUDY.experiments for side in (e.fixed, e.moving))
    populations = " and ".join(dict.fromkeys(side.dataset.population for side in sides))
    return f"{STUDY.title} ({populations}). {sentence}"
