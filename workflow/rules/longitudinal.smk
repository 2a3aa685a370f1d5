"""These rules register the visits of virtual persons who age, and show what was found."""


include: "functions/longitudinal.smk"


rule longitudinal:
    output:
        VISITS,
    log:
        logs("longitudinal", STUDY.name),
    benchmark:
        benchmarks("longitudinal", STUDY.name)
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: minutes_of_visits() * attempt,
    params:
        design=design,
        code=code("longitudinal"),
    message:
        "registering the visits of ageing persons"
    script:
        "../scripts/longitudinal.py"


rule trajectories:
    input:
        lambda w: VISITS,
    output:
        visits=[f"{TABLES}/longitudinal_visits{suffix}" for suffix in SUFFIXES],
        visits_page=report(
            f"{TABLES}/longitudinal_visits.html",
            caption="../report/longitudinal_visits.rst",
            category="7 Several times",
            labels={"shows": "Errors at each visit"},
        ),
        paths=[f"{TABLES}/longitudinal_paths{suffix}" for suffix in SUFFIXES],
        paths_page=report(
            f"{TABLES}/longitudinal_paths.html",
            caption="../report/longitudinal_paths.rst",
            category="7 Several times",
            labels={"shows": "Smoothness of trajectories"},
        ),
        figure=[
            report(
                f"{FIGURES}/longitudinal.svg",
                caption="../report/longitudinal.rst",
                category="7 Several times",
                labels={"shows": "Lateral ventricles over time"},
            ),
            *other_kinds(f"{FIGURES}/longitudinal"),
        ],
    log:
        logs("trajectories", STUDY.name),
    params:
        visits=visits_caption(
            "Mean and standard deviation over persons of the errors of the map from the first visit to each other one: target registration error, Dice, volume of the lateral ventricles by the map minus the true volume, and folds."
        ),
        paths=visits_caption(
            "Mean and standard deviation over persons. Speed (mm per unit time) and acceleration (mm per squared unit time) of the brain's voxels, from visit to visit and from step to step of the solver; mean squared derivative of the velocity in time at a fixed place (mm² per unit time to the fourth). The unit of time is the whole time."
        ),
        code=code("trajectories"),
    message:
        "tabulating and drawing trajectories"
    script:
        "../scripts/trajectories.py"
