"""These rules make the tables of the study from the tidy table."""


include: "functions/statistics.smk"


rule experiments:
    input:
        unpack(reported_numbers),
    output:
        table=[f"{TABLES}/experiments{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{TABLES}/experiments.html",
            caption="../report/experiments_table.rst",
            category="0 Scans",
            labels={"shows": "Experiments"},
        ),
    log:
        logs("experiments", STUDY.name),
    params:
        rows=experiments_table(STUDY),
        columns=list(EXPERIMENT_COLUMNS),
        caption=table_caption("What is registered to what."),
        code=code("experiments"),
    message:
        "listing the experiments"
    script:
        "../scripts/experiments.py"


rule summarise:
    input:
        unpack(metrics_and_reported),
    output:
        summary=[f"{TABLES}/summary{suffix}" for suffix in SUFFIXES],
        by_label=[f"{TABLES}/dice_by_label{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{TABLES}/summary.html",
            caption="../report/summary_table.rst",
            category="1 Overlap",
            labels={"shows": "Summary table"},
        ),
        by_label_page=[
            report(
                page,
                caption="../report/dice_by_label_table.rst",
                category="1 Overlap",
                labels={"shows": "Table of structures"},
            )
            for page in [f"{TABLES}/dice_by_label.html"]
            if has_labels()
        ],
    log:
        logs("summarise", STUDY.name),
    params:
        look=LOOK,
        summary=table_caption(
            "Mean and standard deviation over pairs; time is also a median. Dice counts a structure that a map destroys as 0, and HD95 leaves it out. The best mean of an experiment is bold, unless it is over fewer pairs than another one. Missing pairs of a mean are counted beside it. Columns called reported hold what others measured on other scans."
            + ABOUT_SUBSET
        ),
        by_label=table_caption(f"Mean Dice of each structure over pairs.{ABOUT_CHOSEN}"),
        chosen=list(STUDY.shown.runs),
        code=code("summarise"),
    message:
        "summarising"
    script:
        "../scripts/summarise.py"


rule wilcoxon:
    input:
        lambda w: COLLECTED,
    output:
        each=[f"{TABLES}/wilcoxon{suffix}" for suffix in SUFFIXES],
        largest=[f"{TABLES}/wilcoxon_largest_p{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{TABLES}/wilcoxon.html",
            caption="../report/wilcoxon_table.rst",
            category="2 Statistics",
            labels={"shows": "Wilcoxon tests"},
        ),
        largest_page=report(
            f"{TABLES}/wilcoxon_largest_p.html",
            caption="../report/wilcoxon_largest_table.rst",
            category="2 Statistics",
            labels={"shows": "Largest p over the experiments"},
        ),
    log:
        logs("wilcoxon", STUDY.name),
    params:
        look=LOOK,
        each=table_caption(
            "One-sided Wilcoxon signed-rank tests: is the mean Dice of method greater than that of other? Only pairs that both registered enter. The median difference has its 95 % bootstrap interval. Holm's correction is for the tests of one method against all others in an experiment."
        ),
        largest=table_caption(
            "The largest p over the experiments, as it is and after Holm's correction for the tests of one method against all others."
        ),
        code=code("wilcoxon"),
    message:
        "testing runs against each other"
    script:
        "../scripts/wilcoxon.py"


rule sweeps:
    input:
        unpack(metrics_and_reported),
    output:
        table=[f"{TABLES}/sweeps{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{TABLES}/sweeps.html",
            caption="../report/sweeps_table.rst",
            category="2 Statistics",
            labels={"shows": "Settings that are varied"},
        ),
        figure=[
            report(
                f"{FIGURES}/sweeps.svg",
                caption="../report/sweeps.rst",
                category="2 Statistics",
                labels={"shows": "Accuracy and folds over a setting"},
            ),
            *other_kinds(f"{FIGURES}/sweeps"),
        ],
    log:
        logs("sweeps", STUDY.name),
    params:
        points=SWEPT,
        experiments=LOOK["experiments"],
        caption=table_caption(
            "Mean and standard deviation over pairs for each value of a setting; time is a median. The best mean of an experiment is bold, unless it is over fewer pairs than another one. Missing pairs of a mean are counted beside it."
        ),
        code=code("sweeps"),
    message:
        "comparing the values of settings"
    script:
        "../scripts/sweeps.py"


rule crossed:
    input:
        unpack(metrics_and_reported),
    output:
        table=[f"{CROSSED_TABLE}{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{CROSSED_TABLE}.html",
            caption="../report/crossed_table.rst",
            category="2 Statistics",
            labels={"shows": "Two settings crossed: {crossed}"},
        ),
    log:
        logs("crossed", STUDY.name, "{crossed}"),
    params:
        points=crossed_points,
        settings=crossed_settings,
        experiments=LOOK["experiments"],
        caption=table_caption(
            "Two settings crossed: each cell holds the means over pairs of Dice (of the label table's subset where it has one) and of folds (% of grid), and the median time."
        ),
        code=code("crossed"),
    message:
        "crossing two settings ({wildcards.crossed})"
    script:
        "../scripts/crossed.py"


rule models:
    input:
        unpack(metrics_and_reported),
        after=lambda w: chunks_at_work(first_pairs()),
    output:
        table=[f"{TABLES}/models{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{TABLES}/models.html",
            caption="../report/models_table.rst",
            category="2 Statistics",
            labels={"shows": "Representations of the velocity"},
        ),
    log:
        logs("models", STUDY.name),
    params:
        units=first_pairs(),
        look=LOOK,
        runs=runs_compared,
        caption=table_caption(
            "Representations of the velocity: mean and standard deviation over pairs, and the number of trainable parameters on the first pair of the experiment. A free velocity in space has three parameters at each point of its grid and each of its knots. The best mean of an experiment is bold, unless it is over fewer pairs than another one. Missing pairs of a mean are counted beside it."
        ),
        code=models_code,
    message:
        "counting the parameters of models"
    script:
        "../scripts/models.py"


rule failures:
    input:
        scans=lambda w: [receipt for scan in SCANS.values() for receipt in units_of(scan)],
        after=lambda w: chunks_at_work([*registrations(), *unit_metrics()]),
    output:
        failures=f"{TABLES}/failures.tsv",
        failures_page=report(
            f"{TABLES}/failures.html",
            caption="../report/failures_table.rst",
            category="2 Statistics",
            labels={"shows": "Failed registrations"},
        ),
        suspects=f"{TABLES}/suspects.tsv",
        suspects_page=report(
            f"{TABLES}/suspects.html",
            caption="../report/suspects_table.rst",
            category="2 Statistics",
            labels={"shows": "Suspect registrations"},
        ),
        unusable_scans=f"{TABLES}/unusable_scans.tsv",
        unusable_scans_page=report(
            f"{TABLES}/unusable_scans.html",
            caption="../report/unusable_scans_table.rst",
            category="2 Statistics",
            labels={"shows": "Scans that cannot be used"},
        ),
    log:
        logs("failures", STUDY.name),
    params:
        units=lambda w: [*registrations(), *unit_metrics()],
        logs=lambda w: [unit_log(unit) for unit in run_units()],
        scans=steps_of_scans,
        labels=labels_of_pairs,
        failures=table_caption("Registrations that failed."),
        suspects=table_caption("Registrations that look as if they went wrong."),
        unusable_scans=table_caption(
            "Scans that could not be prepared or have no usable labels, the first step that failed, and the number of pairs of the study that each is in."
        ),
        code=code("failures"),
    message:
        "listing failures, suspects and scans that cannot be used"
    script:
        "../scripts/failures.py"
