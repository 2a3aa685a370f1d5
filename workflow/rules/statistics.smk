"""These rules make the tables of the study from the tidy table."""


include: "functions/statistics.smk"


rule summarise:
    input:
        lambda w: COLLECTED,
    output:
        summary=[f"{TABLES}/summary{suffix}" for suffix in SUFFIXES],
        by_label=[f"{TABLES}/dice_by_label{suffix}" for suffix in SUFFIXES],
        page=report(
            f"{TABLES}/summary.html",
            caption="../report/summary_table.rst",
            category="1 Overlap",
            labels={"figure": "Summary table"},
        ),
    log:
        logs("summarise", STUDY.name),
    params:
        summary=table_caption(
            "Mean and standard deviation over pairs; seconds and memory as medians."
        ),
        by_label=table_caption("Dice of each structure, mean and standard deviation over pairs."),
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
            labels={"figure": "Wilcoxon tests"},
        ),
    log:
        logs("wilcoxon", STUDY.name),
    params:
        each=table_caption(
            "One-sided Wilcoxon signed-rank tests: is the mean Dice of run greater than that of other?"
        ),
        largest=table_caption("The largest p over the experiments."),
        code=code("wilcoxon"),
    message:
        "testing runs against each other"
    script:
        "../scripts/wilcoxon.py"


rule failures:
    input:
        registrations,
    output:
        failures=f"{TABLES}/failures.tsv",
        failures_page=report(
            f"{TABLES}/failures.html",
            caption="../report/failures_table.rst",
            category="2 Statistics",
            labels={"figure": "Failed registrations"},
        ),
        suspects=f"{TABLES}/suspects.tsv",
        suspects_page=report(
            f"{TABLES}/suspects.html",
            caption="../report/suspects_table.rst",
            category="2 Statistics",
            labels={"figure": "Suspect registrations"},
        ),
    log:
        logs("failures", STUDY.name),
    params:
        logs=registration_logs,
        failures=table_caption("Registrations that failed."),
        suspects=table_caption("Registrations that look as if they went wrong."),
        code=code("failures"),
    message:
        "listing failures and suspects"
    script:
        "../scripts/failures.py"
