"""These rules draw the figures of the study, one rule a figure."""


include: "functions/figures.smk"


rule dice_boxplot:
    input:
        lambda w: COLLECTED,
    output:
        report(
            f"{FIGURES}/dice_boxplot.svg",
            caption="../report/dice_boxplot.rst",
            category="1 Overlap",
            labels={"shows": "Mean Dice of each pair"},
        ),
        other_kinds(f"{FIGURES}/dice_boxplot"),
    log:
        logs("dice_boxplot", STUDY.name),
    params:
        look=LOOK,
        code=code("dice_boxplot"),
    message:
        "drawing dice boxplot"
    script:
        "../scripts/dice_boxplot.py"


rule dice_by_structure:
    input:
        lambda w: COLLECTED,
    output:
        report(
            f"{FIGURES}/dice_by_structure.svg",
            caption="../report/dice_by_structure.rst",
            category="1 Overlap",
            labels={"shows": "Dice of each structure"},
        ),
        other_kinds(f"{FIGURES}/dice_by_structure"),
    log:
        logs("dice_by_structure", STUDY.name),
    params:
        look=LOOK,
        chosen=CHOSEN,
        code=code("dice_by_structure"),
    message:
        "drawing dice by structure"
    script:
        "../scripts/dice_by_structure.py"


rule regularity:
    input:
        lambda w: COLLECTED,
    output:
        report(
            f"{FIGURES}/regularity.svg",
            caption="../report/regularity.rst",
            category="1 Overlap",
            labels={"shows": "Accuracy, folds and time"},
        ),
        other_kinds(f"{FIGURES}/regularity"),
    log:
        logs("regularity", STUDY.name),
    params:
        look=LOOK,
        code=code("regularity"),
    message:
        "drawing regularity"
    script:
        "../scripts/regularity.py"


rule significance:
    input:
        lambda w: f"{TABLES}/wilcoxon_largest_p.tsv",
    output:
        report(
            f"{FIGURES}/significance.svg",
            caption="../report/significance.rst",
            category="2 Statistics",
            labels={"shows": "Which run is better"},
        ),
        other_kinds(f"{FIGURES}/significance"),
    log:
        logs("significance", STUDY.name),
    params:
        look=LOOK,
        code=code("significance"),
    message:
        "drawing significance"
    script:
        "../scripts/significance.py"


rule panel:
    input:
        after=lambda w: chunks_at_work(shown_unit(w)),
    output:
        # A study has a panel of each run, and as vector graphics they would be a report's largest part.
        report(
            f"{PANEL}.png",
            caption="../report/pair_panel.rst",
            category="3 Pairs",
            subcategory="{experiment}",
            labels={"pair": "{pair}", "run": "{run}"},
        ),
        [f"{PANEL}.{kind}" for kind in KINDS if kind != "png"],
    log:
        logs("panel", STUDY.name, "{experiment}", "{pair}", "{run}"),
    benchmark:
        benchmarks("panel", STUDY.name, "{experiment}", "{pair}", "{run}")
    params:
        units=shown_unit,
        title=panel_title,
        code=code("panel"),
    message:
        "drawing {wildcards.experiment} {wildcards.pair} {wildcards.run}"
    script:
        "../scripts/panel.py"


rule beside:
    input:
        after=lambda w: chunks_at_work(units_beside(w)),
    output:
        report(
            f"{BESIDE}.svg",
            caption="../report/beside.rst",
            category="3 Pairs",
            subcategory="{experiment}",
            labels={"pair": "{pair}", "run": "methods side by side"},
        ),
        other_kinds(BESIDE),
    log:
        logs("beside", STUDY.name, "{experiment}", "{pair}"),
    params:
        units=units_beside,
        runs=runs_beside(),
        titles=LOOK["titles"],
        title=pair_title,
        code=code("beside"),
    message:
        "drawing methods side by side {wildcards.experiment} {wildcards.pair}"
    script:
        "../scripts/beside.py"


rule convergence:
    input:
        after=lambda w: chunks_at_work(registrations_of_pair(w)),
    output:
        report(
            f"{CONVERGENCE}.svg",
            caption="../report/convergence.rst",
            category="3 Pairs",
            subcategory="{experiment}",
            labels={"pair": "{pair}", "run": "energy per iteration"},
        ),
        other_kinds(CONVERGENCE),
    log:
        logs("convergence", STUDY.name, "{experiment}", "{pair}"),
    params:
        units=registrations_of_pair,
        look=LOOK,
        title=pair_title,
        code=code("convergence"),
    message:
        "drawing convergence {wildcards.experiment} {wildcards.pair}"
    script:
        "../scripts/convergence.py"


rule coronal_overview:
    input:
        prepared_fixed_scans,
    output:
        report(
            f"{OVERVIEW}.svg",
            caption="../report/coronal_overview.rst",
            category="0 Scans",
            labels={"experiment": "{experiment}"},
        ),
        other_kinds(OVERVIEW),
    log:
        logs("coronal_overview", STUDY.name, "{experiment}"),
    params:
        names=shown_names,
        caption=overview_caption,
        code=code("coronal_overview"),
    message:
        "drawing the fixed scans of {wildcards.experiment}"
    script:
        "../scripts/coronal_overview.py"


rule plane:
    input:
        after=lambda w: chunks_at_work(pair_in_plane(w)),
    output:
        boundary=[
            report(
                f"{FIGURES}/plane_boundary.svg",
                caption="../report/plane_boundary.rst",
                category="6 In the plane",
                labels={"shows": "With and without a fixed border"},
            ),
            *other_kinds(f"{FIGURES}/plane_boundary"),
        ],
        regularisation=[
            report(
                f"{FIGURES}/plane_regularisation.svg",
                caption="../report/plane_regularisation.rst",
                category="6 In the plane",
                labels={"shows": "With and without kernel and Jacobian term"},
            ),
            *other_kinds(f"{FIGURES}/plane_regularisation"),
        ],
    log:
        logs("plane", STUDY.name),
    params:
        units=pair_in_plane,
        run=run_in_plane,
        side=144,
        seed=STUDY.seed,
        code=plane_code,
    message:
        "registering shapes in the plane"
    script:
        "../scripts/plane.py"
