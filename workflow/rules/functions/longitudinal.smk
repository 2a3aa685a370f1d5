"""What the visits of ageing persons are registered by, and what stands above their tables."""


def design(wildcards):
    return STUDY.longitudinal.content


def minutes_of_visits():
    """Return how long the job may take on a cluster; one person takes less than a minute."""
    return 10 + 5 * len(STUDY.longitudinal.persons)


def visits_caption(sentence):
    """What a table of visits shows, and of whom; empty where the study has no visits."""
    if STUDY.longitudinal is None:
        return ""
    persons = ", ".join(f"{number:02d}" for number in STUDY.longitudinal.persons)
    noun = "person" if len(STUDY.longitudinal.persons) == 1 else "persons"
    who = f"virtual {noun} {persons}, at {len(STUDY.longitudinal.times)} times"
    return f"{STUDY.title} ({who}). Nobody was scanned. {sentence}"
