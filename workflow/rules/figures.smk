"""From tables and units to figures: one rule, one figure."""


rule dice_boxplot:
    input:
        mended(collected),
    output:
        report(
            f"{FIGURES}/dice_boxplot.svg",
            caption="../report/dice_boxplot.rst",
            category="1 Overlap",
            labels={"figure": "Mean Dice of each pair"},
        ),
        f"{FIGURES}/dice_boxplot.png",
    log:
        f"{LOGS}/dice_boxplot/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        look=LOOK,
        code=code("dice_boxplot", "diffeode.figures.dice_boxplot", "diffeode.statistics.tidy"),
    message:
        "drawing dice boxplot"
    script:
        "../scripts/dice_boxplot.py"


rule dice_by_structure:
    input:
        mended(collected),
    output:
        report(
            f"{FIGURES}/dice_by_structure.svg",
            caption="../report/dice_by_structure.rst",
            category="1 Overlap",
            labels={"figure": "Dice of each structure"},
        ),
        f"{FIGURES}/dice_by_structure.png",
    log:
        f"{LOGS}/dice_by_structure/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        look=LOOK,
        code=code("dice_by_structure", "diffeode.figures.dice_by_structure", "diffeode.statistics.tidy"),
    message:
        "drawing dice by structure"
    script:
        "../scripts/dice_by_structure.py"


rule regularity:
    input:
        mended(collected),
    output:
        report(
            f"{FIGURES}/regularity.svg",
            caption="../report/regularity.rst",
            category="1 Overlap",
            labels={"figure": "Accuracy, folds and time"},
        ),
        f"{FIGURES}/regularity.png",
    log:
        f"{LOGS}/regularity/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        look=LOOK,
        code=code("regularity", "diffeode.figures.regularity", "diffeode.statistics.tidy"),
    message:
        "drawing regularity"
    script:
        "../scripts/regularity.py"


rule significance:
    input:
        mended(lambda w: f"{TABLES}/wilcoxon_largest_p.tsv"),
    output:
        report(
            f"{FIGURES}/significance.svg",
            caption="../report/significance.rst",
            category="2 Statistics",
            labels={"figure": "Which run is better"},
        ),
        f"{FIGURES}/significance.png",
    log:
        f"{LOGS}/significance/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        look=LOOK,
        code=code("significance", "diffeode.figures.significance"),
    message:
        "drawing significance"
    script:
        "../scripts/significance.py"


rule panel:
    input:
        mended(registration_and_pair),
    output:
        report(
            PANEL,
            caption="../report/pair_panel.rst",
            category="3 Pairs",
            subcategory="{experiment}",
            labels={"pair": "{pair}", "run": "{run}"},
        ),
    log:
        f"{LOGS}/panel/{STUDY.name}/{{experiment}}/{{pair}}/{{run}}.log",
    benchmark:
        f"{BENCHMARKS}/panel/{STUDY.name}/{{experiment}}/{{pair}}/{{run}}.tsv"
    conda:
        ENVIRONMENT
    params:
        title=panel_title,
        code=code("panel", "diffeode.figures.pair_panel"),
    message:
        "drawing {wildcards.experiment} {wildcards.pair} {wildcards.run}"
    script:
        "../scripts/panel.py"


rule convergence:
    input:
        mended(registrations_of_pair),
    output:
        report(
            f"{CONVERGENCE}.svg",
            caption="../report/convergence.rst",
            category="3 Pairs",
            subcategory="{experiment}",
            labels={"pair": "{pair}", "run": "energy per iteration"},
        ),
        f"{CONVERGENCE}.png",
    log:
        f"{LOGS}/convergence/{STUDY.name}/{{experiment}}/{{pair}}.log",
    conda:
        ENVIRONMENT
    params:
        look=LOOK,
        title=pair_title,
        code=code("convergence", "diffeode.figures.convergence", "diffeode.units.registration"),
    message:
        "drawing convergence {wildcards.experiment} {wildcards.pair}"
    script:
        "../scripts/convergence.py"


rule coronal_overview:
    input:
        mended(prepared_fixed_scans),
    output:
        report(
            OVERVIEW,
            caption="../report/coronal_overview.rst",
            category="0 Scans",
            labels={"experiment": "{experiment}"},
        ),
    log:
        f"{LOGS}/coronal_overview/{STUDY.name}/{{experiment}}.log",
    conda:
        ENVIRONMENT
    params:
        names=shown_names,
        caption=overview_caption,
        code=code("coronal_overview", "diffeode.figures.coronal_overview", "diffeode.units.scan"),
    message:
        "drawing the fixed scans of {wildcards.experiment}"
    script:
        "../scripts/coronal_overview.py"
