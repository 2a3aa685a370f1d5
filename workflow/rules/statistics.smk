"""From the tidy table to the study's tables."""


rule summarise:
    input:
        mended(collected),
    output:
        summary=report(
            f"{TABLES}/summary.tsv",
            caption="../report/summary_table.rst",
            category="1 Overlap",
            labels={"figure": "Summary table"},
        ),
        summary_shown=[f"{TABLES}/summary.md", f"{TABLES}/summary.tex"],
        by_label=[f"{TABLES}/dice_by_label{suffix}" for suffix in SUFFIXES],
    log:
        f"{LOGS}/summarise/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        summary=table_caption("Mean and standard deviation over pairs; seconds and memory as medians."),
        by_label=table_caption("Dice of each structure, mean and standard deviation over pairs."),
        code=code("summarise", "diffeode.statistics.summary", "diffeode.statistics.export"),
    message:
        "summarising"
    script:
        "../scripts/summarise.py"


rule wilcoxon:
    input:
        mended(collected),
    output:
        each=report(
            f"{TABLES}/wilcoxon.tsv",
            caption="../report/wilcoxon_table.rst",
            category="2 Statistics",
            labels={"figure": "Wilcoxon tests"},
        ),
        each_shown=[f"{TABLES}/wilcoxon.md", f"{TABLES}/wilcoxon.tex"],
        largest=[f"{TABLES}/wilcoxon_largest_p{suffix}" for suffix in SUFFIXES],
    log:
        f"{LOGS}/wilcoxon/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        each=table_caption("One-sided Wilcoxon signed-rank tests: is the mean Dice of run greater than that of other?"),
        largest=table_caption("The largest p over the experiments."),
        code=code("wilcoxon", "diffeode.statistics.wilcoxon", "diffeode.statistics.export"),
    message:
        "testing runs against each other"
    script:
        "../scripts/wilcoxon.py"


rule failures:
    input:
        mended(registrations),
    output:
        report(
            f"{TABLES}/failures.tsv",
            caption="../report/failures_table.rst",
            category="2 Statistics",
            labels={"figure": "Failed registrations"},
        ),
    log:
        f"{LOGS}/failures/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        logs=registration_logs,
        code=code("failures"),
    message:
        "listing failures"
    script:
        "../scripts/failures.py"
